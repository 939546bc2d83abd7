#include "control/node.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "control/open_cloud.h"
#include "disk/cloud_super.h"

namespace latte {
namespace {
constexpr auto kLockPause = std::chrono::milliseconds(5);
}

Result<std::unique_ptr<Node>> Node::open(const Config& config, Options options) {
  std::unique_ptr<Node> node(new Node(options));
  auto engine = EngineThread::start({config.reactor.polling, config.reactor.cores_of(0)});
  if (!engine) return engine.error();
  node->engine_ = engine.take();

  FileDevice::Options file;
  file.path = config.pool.path;
  file.read_only = options.access == Access::read_only;
  if (!file.read_only) file.expected_size_bytes = config.pool.device_bytes();
  auto pool = node->engine_->call(
      [&] { return FileDevice::open(node->engine_->reactor(), std::move(file)); });
  if (!pool) {
    Error error = pool.error();
    error.message = "pool: " + error.message;
    if (error.code == Errc::not_found) error.message += "; latte create makes the pool";
    return error;
  }
  node->pool_ = pool.take();
  const Result<void> locked = node->lock_pool();
  if (!locked) return locked.error();
  const Result<void> buffered = node->recover_buffer(config.pool);
  if (!buffered) return node->pool_error(buffered.error());
  node->host_ =
      std::make_unique<Host>(node->engine_->reactor(), *node->buffer_, config.pool.admission);
  if (!options.read_pool) return node;
  const Result<void> read = node->engine_->call([&] { return node->host_->open_pool(); });
  if (!read) return Error{read.error().code, "pool: " + read.error().message};
  const Result<void> begun = node->begin_buffer(config.pool);
  if (!begun) return Error{begun.error().code, "pool: " + begun.error().message};
  node->pool_read_ = true;
  node->open_volumes(config.pool);
  return node;
}

// Why the pool can't be opened: what its write buffer says, unless it is no pool at all.
Error Node::pool_error(const Error& of_buffer) {
  const auto space = engine_->call([&] {
    return log::SegmentSpace::open(engine_->reactor(), *pool_, log::SpaceKind::pool, false);
  });
  const Error& error = space ? of_buffer : space.error();
  return Error{error.code, "pool: " + error.message};
}

Result<void> Node::recover_buffer(const PoolConfig& pool) {
  buffer_memory_ = std::make_unique<ShmBufferMemory>(pool.write_buffer_directory);
  buffer_ = std::make_unique<WriteBuffer>(engine_->reactor(), *pool_, *buffer_memory_);
  const auto access = options_.access == Access::read_only ? WriteBuffer::Access::read_only
                                                           : WriteBuffer::Access::read_write;
  return engine_->call([&] { return buffer_->recover(access); });
}

Result<void> Node::begin_buffer(const PoolConfig& pool) {
  if (options_.access == Access::read_only) return {};
  return engine_->call([&] { return buffer_->begin(pool.write_buffer_bytes); });
}

void Node::open_volumes(const PoolConfig& pool) {
  volumes_error_ =
      Error{Errc::invalid,
            "pool: the configuration has no room for volumes; [pool] volumes = \"SIZE\" "
            "makes some, in a new pool"};
  if (pool.volumes_bytes == 0) return;
  const VolumeArea area{pool.size_bytes, pool.volumes_bytes};
  const auto access = options_.access == Access::read_write ? VolumeSpace::Access::read_write
                                                            : VolumeSpace::Access::read_only;
  auto opened =
      engine_->call([&] { return VolumeSpace::open(engine_->reactor(), *pool_, area, access); });
  if (opened) {
    volumes_ = opened.take();
    return;
  }
  volumes_error_ = Error{opened.error().code, "pool: " + opened.error().message};
  if (volumes_error_.code == Errc::not_found)
    volumes_error_ =
        Error{Errc::damaged,
              volumes_error_.message + "; is pool.size as it was when latte create made the pool?"};
  log_error("{}", volumes_error_.message);
}

Result<VolumeSpace*> Node::volumes() {
  if (!volumes_) return volumes_error_;
  return volumes_.get();
}

Result<LocalVolume*> Node::attach_local(const DiskConfig& disk) {
  const std::string& name = disk.options.name;
  const auto space = volumes();
  if (!space)
    return Error{space.error().code, fmt::format("disk {}: {}", name, space.error().message)};
  const auto attached = engine_->call([&] { return space.value()->attach(name); });
  if (!attached)
    return Error{attached.error().code, fmt::format("disk {}: {}", name, attached.error().message)};
  const LocalVolume& volume = *attached.value();
  if (volume.info().size_bytes != disk.options.size_bytes || volume.thin() != disk.thin)
    log_warning(
        "disk {}: the volume has {} bytes and is {}, the configuration says {} and {}; the "
        "volume counts",
        name, volume.info().size_bytes, volume.thin() ? "thin" : "thick", disk.options.size_bytes,
        disk.thin ? "thin" : "thick");
  return attached;
}

Result<void> Node::lock_pool() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kLockWaitMs);
  for (;;) {
    const Result<void> locked = engine_->call([&] { return pool_->lock_exclusive(); });
    if (locked || locked.error().code != Errc::busy) return locked;
    if (std::chrono::steady_clock::now() >= deadline)
      return Error{Errc::busy, "pool: " + locked.error().message};
    std::this_thread::sleep_for(kLockPause);
  }
}

Result<CloudVolume*> Node::open_cloud(const DiskConfig& disk) {
  const auto unused = unused_.find(disk.options.name);
  if (unused != unused_.end()) return unused_.extract(unused).mapped();
  auto cloud = open_cloud_volume(*engine_, disk, options_.access == Access::read_only,
                                 pool_read_ ? host_->pool_id() : Uuid());
  if (!cloud) {
    Error error = cloud.error();
    error.message = fmt::format("disk {}: {}", disk.options.name, error.message);
    if (error.code == Errc::not_found) error.message += "; latte create makes the disk";
    return error;
  }
  clouds_.push_back(cloud.take());
  if (disk.cloud.kind == CloudKind::nbd)
    leased_.push_back(static_cast<LeasedVolume*>(clouds_.back().get()));
  return clouds_.back().get();
}

Result<HybridDisk*> Node::attach(const DiskConfig& disk) {
  LATTE_CHECK(pool_read_);
  const auto cloud = open_cloud(disk);
  if (!cloud) return cloud.error();
  auto attached = engine_->call([&] { return host_->attach(disk.options, *cloud.value()); });
  if (attached) return attached;
  Error error = attached.error();
  // A standby's connection is ready when the order comes.
  if (error.code == Errc::not_owner) unused_[disk.options.name] = cloud.value();
  if (!error.message.starts_with("disk "))
    error.message = fmt::format("disk {}: {}", disk.options.name, error.message);
  return error;
}

Result<void> Node::force_unfenced(const DiskConfig& disk, CloudVolume& cloud,
                                  const std::string& disk_id) {
  const std::string& name = disk.options.name;
  if (disk.cloud.kind != CloudKind::nbd)
    return Error{Errc::invalid,
                 fmt::format("disk {}: {} fences its old owner; take it over without "
                             "--force-unfenced",
                             name, cloud.name())};
  const auto owner = engine_->call([&] { return read_owner(cloud); });
  if (!owner.super)
    return Error{Errc::io,
                 fmt::format("disk {}: {} has no superblock that can be read", name, cloud.name())};
  const std::string id = owner.super->disk_id.to_string();
  if (id != disk_id)
    return Error{Errc::invalid, fmt::format("disk {}: its id is {}, not {}; nothing was taken over",
                                            name, id, disk_id)};
  static_cast<LeasedVolume&>(cloud).lease().set_force(true);
  return {};
}

Result<std::string> Node::take_over(const DiskConfig& disk, const std::string& force_disk_id) {
  LATTE_CHECK(pool_read_);
  const auto cloud = open_cloud(disk);
  if (!cloud) return cloud.error();
  if (!force_disk_id.empty()) {
    const Result<void> forced = force_unfenced(disk, *cloud.value(), force_disk_id);
    if (!forced) return forced.error();
  }
  std::string report;
  const Result<void> taken =
      engine_->call([&] { return host_->take_over(disk.options, *cloud.value(), &report); });
  if (!taken) return taken.error();
  unused_[disk.options.name] = cloud.value();
  return report;
}

Result<void> Node::stop_host() {
  if (std::exchange(stopped_, true)) return {};
  const auto end = [&](bool there, auto stop) {
    return there ? engine_->call(stop) : Result<void>();
  };
  const Result<void> volumes_stopped = end(volumes_ != nullptr, [&] { return volumes_->stop(); });
  const Result<void> stopped = end(pool_read_, [&] { return host_->stop(); });
  // Last: the pool's log goes through it.
  const Result<void> closed = end(pool_read_, [&] { return buffer_->close(); });
  // Nobody writes any more: the next owner need not wait for a lease to run out.
  for (LeasedVolume* volume : leased_) {
    const Result<void> released = end(pool_read_, [&] { return volume->release(); });
    if (!released) log_warning("{}", released.error().message);
  }
  if (!stopped) return stopped;
  return volumes_stopped ? closed : volumes_stopped;
}

Node::~Node() {
  if (options_.access == Access::read_write) (void)stop_host();
  // Nothing is under way once the thread has ended; then the rest may go, the reactor last.
  if (engine_) engine_->stop();
}

}  // namespace latte
