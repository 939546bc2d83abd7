#include "control/create.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "base/buffer.h"
#include "control/config_values.h"
#include "control/node.h"
#include "control/progress_printer.h"
#include "device/file_create.h"

namespace latte {
namespace {

using Say = std::function<void(const std::string& line)>;

// A block device is taken for empty if this much at its beginning and at its end is zero: partition
// tables, file systems, RAID and LVM all leave a mark there.
constexpr uint64_t kLookedAtBytes = 4u << 20;

Task<Result<void>> expect_zeroes(BlockDevice* device, uint64_t offset, uint64_t length) {
  Buffer data(length);
  const IoStatus status = co_await device->read(offset, data.span());
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("pool: {}: reading at {}: {}", device->info().name,
                                          offset, to_string(status))};
  const auto* first = data.data();
  const auto* end = first + length;
  const auto* found = std::find_if(first, end, [](std::byte b) { return b != std::byte{0}; });
  if (found == end) co_return Result<void>();
  co_return Error{
      Errc::exists,
      fmt::format("pool: {} holds data (at byte {}); it was left alone. If they may go, clear "
                  "it (wipefs -a, or blkdiscard -z) and run latte create again",
                  device->info().name, offset + static_cast<uint64_t>(found - first))};
}

Task<Result<void>> format_device(Reactor* reactor, BlockDevice* device, PoolOptions options,
                                 bool look_first) {
  if (look_first) {
    const uint64_t size = device->info().size_bytes;
    const uint64_t length = std::min(kLookedAtBytes, size);
    auto looked = co_await expect_zeroes(device, 0, length);
    if (!looked) co_return looked;
    looked = co_await expect_zeroes(device, size - length, length);
    if (!looked) co_return looked;
  }
  auto formatted = co_await Host::format_pool(*reactor, *device, options);
  if (!formatted) co_return Error{formatted.error().code, "pool: " + formatted.error().message};
  const IoStatus status = co_await device->flush();
  if (status != IoStatus::ok)
    co_return Error{Errc::io,
                    fmt::format("pool: {}: flush: {}", device->info().name, to_string(status))};
  co_return Result<void>();
}

Result<void> format_path(const PoolConfig& pool, const std::string& path, bool look_first) {
  auto engine = EngineThread::start();
  if (!engine) return engine.error();
  EngineThread& thread = *engine.value();
  FileDevice::Options options;
  options.path = path;
  options.expected_size_bytes = pool.size_bytes;
  auto device = thread.call([&] { return FileDevice::open(thread.reactor(), std::move(options)); });
  if (!device) return Error{device.error().code, "pool: " + device.error().message};
  Result<void> done = thread.call([&] { return device.value()->lock_exclusive(); });
  if (done)
    done = thread.call([&] {
      return format_device(&thread.reactor(), device.value().get(), pool.options, look_first);
    });
  thread.stop();
  return done;
}

// Removes a file unless told that it is to stay.
struct RemoveUnlessKept {
  std::string path;
  bool keep = false;
  ~RemoveUnlessKept() {
    if (!keep) ::unlink(path.c_str());
  }
};

Result<void> make_pool_file(const PoolConfig& pool, const Say& say) {
  const std::string unfinished = pool.path + ".new";
  Progress progress;
  progress.total_bytes = pool.size_bytes;
  {
    const ProgressPrinter printer("writing " + unfinished, progress);
    const Result<void> made =
        create_file_exclusive(unfinished, pool.size_bytes, Preallocate::yes,
                              [&](uint64_t done, uint64_t) { progress.done_bytes = done; });
    if (!made) {
      Error error = made.error();
      error.message = "pool: " + error.message;
      if (error.code == Errc::exists)
        error.message +=
            "; another latte create is at work, or one was interrupted: remove the file then";
      return error;
    }
  }
  RemoveUnlessKept file{unfinished};
  const Result<void> formatted = format_path(pool, unfinished, false);
  if (!formatted) return formatted;
  // link() fails if the name was taken meanwhile; rename() would replace what has it.
  if (::link(unfinished.c_str(), pool.path.c_str()) != 0) {
    const Errc code = errno == EEXIST ? Errc::exists : Errc::io;
    return Error{code, fmt::format("pool: cannot give {} the name {}: {}", unfinished, pool.path,
                                   std::strerror(errno))};
  }
  ::unlink(unfinished.c_str());
  file.keep = true;
  say(fmt::format("pool {}: created, {}", pool.path, format_size(pool.size_bytes)));
  return sync_directory(directory_of(pool.path));
}

Result<void> make_pool(const PoolConfig& pool, const Say& say) {
  struct stat info {};
  if (::stat(pool.path.c_str(), &info) != 0) {
    if (errno == ENOENT) return make_pool_file(pool, say);
    return Error{Errc::io,
                 fmt::format("pool: cannot look at {}: {}", pool.path, std::strerror(errno))};
  }
  if (!S_ISBLK(info.st_mode)) return {};  // whether it is a pool shows when it is opened
  const Result<void> formatted = format_path(pool, pool.path, true);
  if (formatted) {
    say(fmt::format("pool {}: created on the block device, {}", pool.path,
                    format_size(pool.size_bytes)));
    return {};
  }
  return formatted;
}

// Whether the pool is there and opens; a pool that runs or is damaged is an error.
Result<std::unique_ptr<Node>> open_or_make(const Config& config, const Say& say) {
  auto node = Node::open(config, {});
  const PoolConfig& pool = config.pool;
  if (node) {
    say(fmt::format("pool {}: exists, left alone", pool.path));
    return node;
  }
  struct stat info {};
  const bool missing = ::stat(pool.path.c_str(), &info) != 0;
  // A file without a pool in it is somebody's file; a block device may be an empty one.
  if (node.error().code != Errc::not_found || !(missing || S_ISBLK(info.st_mode))) {
    if (node.error().code != Errc::not_found) return node;
    return Error{
        Errc::exists,
        fmt::format("pool: {} exists and holds no pool; it was left alone. Remove it, or choose "
                    "another pool.path",
                    pool.path)};
  }
  const Result<void> made = make_pool(pool, say);
  if (!made) return made.error();
  return Node::open(config, {});
}

// True if the cloud volume was made now.
Result<bool> make_cloud(const DiskConfig& disk) {
  const Result<void> made =
      FileCloudVolume::create(disk.cloud_directory, disk.options.size_bytes, disk.cloud_log_bytes);
  if (made) return true;
  if (made.error().code == Errc::exists) return false;
  return Error{made.error().code,
               fmt::format("disk {}: {}", disk.options.name, made.error().message)};
}

Result<void> make_disk(Node& node, const DiskConfig& disk, const Say& say) {
  const std::string& name = disk.options.name;
  const auto fresh = make_cloud(disk);
  if (!fresh) return fresh.error();
  const auto cloud = node.open_cloud(disk);
  if (!cloud) return cloud.error();
  EngineThread& engine = node.engine();
  if (fresh.value()) {
    const Result<void> formatted = engine.call([&] {
      return Host::format_cloud(engine.reactor(), *cloud.value(), disk.options, CloudOptions{});
    });
    if (!formatted) return formatted;
  }
  const Result<void> adopted =
      engine.call([&] { return node.host().adopt_new(disk.options, *cloud.value()); });
  if (adopted) {
    say(fmt::format("disk {}: created in {}, {}, cloud log {}", name, cloud.value()->name(),
                    format_size(disk.options.size_bytes), format_size(disk.cloud_log_bytes)));
    return {};
  }
  if (adopted.error().code == Errc::exists && !fresh.value()) {
    say(fmt::format("disk {}: exists in {}, left alone", name, cloud.value()->name()));
    return {};
  }
  if (adopted.error().code == Errc::not_owner) {
    say(fmt::format("{}; left alone", adopted.error().message));
    return {};
  }
  return adopted;
}

// While a server has the pool, all that can be seen is whether every disk has a volume.
bool all_volumes_exist(const Config& config) {
  return std::all_of(config.disks.begin(), config.disks.end(), [](const DiskConfig& disk) {
    struct stat info {};
    return ::stat((disk.cloud_directory + "/super").c_str(), &info) == 0;
  });
}

}  // namespace

Result<void> create_missing(const Config& config, const Say& say) {
  auto node = open_or_make(config, say);
  if (!node && node.error().code == Errc::busy && all_volumes_exist(config)) {
    say(fmt::format("pool {}: exists and is in use, left alone like the volumes of all {} disks",
                    config.pool.path, config.disks.size()));
    return {};
  }
  if (!node) return node.error();
  for (const DiskConfig& disk : config.disks) {
    const Result<void> made = make_disk(*node.value(), disk, say);
    if (!made) return made;
  }
  return {};
}

}  // namespace latte
