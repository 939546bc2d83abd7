#include "disk/host.h"

#include <fmt/format.h>

#include "base/logging.h"
#include "base/planted.h"
#include "device/write_buffer_format.h"
#include "disk/cloud_super.h"
#include "disk/hybrid_disk.h"
#include "disk/pool.h"
#include "log/recovery.h"

namespace latte {
namespace {

/// format_cloud() writes generation 1, the first adoption 2; an adoption that was interrupted there
/// can be finished, since nobody has written anything yet.
constexpr uint64_t kFormattedGeneration = 1;
constexpr uint64_t kAdoptedGeneration = kFormattedGeneration + 1;

}  // namespace

Error Host::on_disk(const std::string& name, Error error) {
  error.message = "disk " + name + ": " + error.message;
  return error;
}

Host::Host(Reactor& reactor, BlockDevice& pool_device, policy::AdmissionOptions admission)
    : reactor_(reactor), pool_device_(pool_device), admission_(admission) {}

Host::~Host() = default;

Task<Result<void>> Host::format_pool(Reactor& reactor, BlockDevice& pool_device,
                                     PoolOptions options) {
  auto existing =
      co_await log::SegmentSpace::open(reactor, pool_device, log::SpaceKind::pool, false);
  if (existing || existing.error().code != Errc::not_found)
    co_return Error{Errc::exists, fmt::format("{}: holds a pool already{}{}; it was left alone",
                                              pool_device.info().name, existing ? "" : ": ",
                                              existing ? "" : existing.error().message)};
  static_assert(kBufferMarkOffset == log::kNotesOffset &&
                kBufferMarkCopies * kBlockBytes == log::kNotesBytes);  // the write buffer's mark
  log::SegmentSpace::Options space;
  space.kind = log::SpaceKind::pool;
  space.segment_bytes = options.segment_bytes;
  space.size_bytes = options.log_bytes;
  space.space_id = Uuid::from_random(reactor.random().next(), reactor.random().next());
  co_return co_await log::SegmentSpace::format(pool_device, space);
}

Task<Result<void>> Host::format_cloud(Reactor& reactor, CloudVolume& cloud, DiskOptions disk,
                                      CloudOptions options) {
  const auto existing = co_await cloud.read_super();
  if (existing || existing.error().code != Errc::not_found)
    co_return Error{
        Errc::exists,
        fmt::format("disk {}: {} holds a disk already{}{}; it was left alone", disk.name,
                    cloud.name(), existing ? "" : ": ", existing ? "" : existing.error().message)};
  log::CloudSuper super{};
  super.disk_id = Uuid::from_random(reactor.random().next(), reactor.random().next());
  super.size_bytes = disk.size_bytes;
  super.generation = kFormattedGeneration;
  super.epoch = kFormattedGeneration;
  set_name(super.name, disk.name);

  log::SegmentSpace::Options space;
  space.kind = log::SpaceKind::cloud_log;
  space.segment_bytes = options.segment_bytes;
  space.space_id = super.disk_id;
  auto formatted = co_await log::SegmentSpace::format(cloud.log(), space);
  if (!formatted) co_return on_disk(disk.name, formatted.error());
  auto opened =
      co_await log::SegmentSpace::open(reactor, cloud.log(), log::SpaceKind::cloud_log, false);
  if (!opened) co_return on_disk(disk.name, opened.error());
  log::StreamSlot& slot = opened.value()->streams()[0];
  slot = log::StreamSlot{};
  slot.disk_id = super.disk_id;
  set_name(slot.name, disk.name);
  const IoStatus status = co_await opened.value()->write_super();
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("disk {}: {}: writing the cloud log failed: {}",
                                          disk.name, cloud.name(), to_string(status))};
  // The superblock last: with it the disk exists.
  const SuperBytes bytes = seal_to_bytes(super);
  auto swapped = co_await cloud.swap_super(0, super.generation, bytes);
  if (!swapped) co_return on_disk(disk.name, swapped.error());
  co_return Result<void>();
}

Task<Result<void>> Host::open_pool() {
  auto opened =
      co_await log::SegmentSpace::open(reactor_, pool_device_, log::SpaceKind::pool, false);
  if (!opened) co_return opened.error();
  auto space = opened.take();
  const auto settled = co_await space->settle();
  if (!settled) co_return settled.error();
  uint64_t unreadable = 0;
  found_ = co_await log::find_segments(reactor_, *space, &unreadable);
  if (unreadable > 0)
    co_return Error{Errc::io,
                    fmt::format("{}: {} segments can't be read; restore the device, or take "
                                "the disks over from the cloud with a new pool",
                                pool_device_.info().name, unreadable)};
  // What any disk may still hold is in use from the start, whether it is attached now, later, or
  // never.
  for (const log::StreamSlot& slot : space->streams()) {
    if (slot.disk_id.is_nil()) continue;
    log::StreamRecoveryOptions options{slot.disk_id, slot.epoch, slot.tail_order, 0};
    for (const log::FoundSegment& item : log::own_segments(options, found_))
      space->claim(item.segment);
  }
  pool_ = std::make_unique<Pool>(reactor_, std::move(space), admission_);
  pool_->start();
  co_return Result<void>();
}

Uuid Host::pool_id() const {
  LATTE_CHECK(pool_ != nullptr);
  return pool_->space().id();
}

bool Host::knows(const std::string& disk_name) const {
  LATTE_CHECK(pool_ != nullptr);
  return pool_->space().find_stream_by_name(disk_name) != nullptr;
}

Task<Result<void>> Host::adopt_new(DiskOptions disk, CloudVolume& cloud) {
  const auto read = co_await read_super(cloud, disk);
  if (!read) co_return read.error();
  const log::CloudSuper current = read.value();
  const Uuid own = pool_->space().id();
  log::CloudSuper next = current;
  if (current.owner_pool_id.is_nil()) {
    next.owner_pool_id = own;
    auto swapped = co_await swap_super(cloud, current, next);
    if (!swapped) co_return on_disk(disk.name, swapped.error());
  } else if (current.owner_pool_id != own) {
    co_return Error{
        Errc::not_owner,
        fmt::format("disk {}: {} belongs to another host (pool {}); to move it here: latte "
                    "takeover",
                    disk.name, cloud.name(), current.owner_pool_id.to_string())};
  } else if (pool_->space().find_stream(current.disk_id) != nullptr) {
    co_return Error{Errc::exists, fmt::format("disk {}: exists already", disk.name)};
  } else if (current.generation != kAdoptedGeneration || current.epoch != kAdoptedGeneration) {
    co_return Error{
        Errc::not_owner,
        fmt::format("disk {}: {} belongs to this host, but its pool does not know it (a "
                    "take-over was interrupted, or the pool is new); run latte takeover",
                    disk.name, cloud.name())};
  }
  co_return co_await register_disk(disk, next, cloud.log().info().size_bytes);
}

Task<Result<HybridDisk*>> Host::attach(DiskOptions disk, CloudVolume& cloud) {
  const auto read = co_await read_super(cloud, disk);
  if (!read) co_return read.error();
  const log::CloudSuper current = read.value();
  const log::StreamSlot* slot = pool_->space().find_stream(current.disk_id);
  const bool owner = current.owner_pool_id == pool_->space().id();
  if (current.owner_pool_id.is_nil())
    co_return Error{Errc::not_owner, fmt::format("disk {}: {} is nobody's (new, or handed over); "
                                                 "run latte create, or latte takeover",
                                                 disk.name, cloud.name())};
  if (!owner)
    co_return Error{
        Errc::not_owner,
        fmt::format("disk {}: {} belongs to another host (pool {}, generation {}); to move "
                    "it here: latte takeover",
                    disk.name, cloud.name(), current.owner_pool_id.to_string(),
                    current.generation)};
  const bool stale = slot == nullptr || slot->epoch != current.epoch;
  if (stale && !planted(Planted::stale_epoch_accepted))
    co_return Error{
        Errc::not_owner,
        fmt::format("disk {}: what this pool holds of it ended with epoch {}, the cloud is "
                    "at {} (a take-over was interrupted, or the pool had failed); run latte "
                    "takeover to go on from the cloud",
                    disk.name, slot == nullptr ? 0 : slot->epoch, current.epoch)};
  log::CloudSuper next = current;
  auto swapped = co_await swap_super(cloud, current, next);
  if (!swapped) co_return on_disk(disk.name, swapped.error());
  auto item = std::make_unique<HybridDisk>(reactor_, *pool_, cloud, disk, next);
  auto recovered = co_await item->recover(found_);
  if (!recovered) {
    // Its coroutines are done, its streams idle; the pool forgets it.
    co_return recovered.error();
  }
  item->start();
  disks_.push_back(std::move(item));
  co_return disks_.back().get();
}

HybridDisk* Host::find(const std::string& disk_name) {
  for (auto& disk : disks_)
    if (disk->name() == disk_name) return disk.get();
  return nullptr;
}

Task<Result<void>> Host::drain(const std::string& disk_name, Progress* progress) {
  HybridDisk* disk = find(disk_name);
  if (disk == nullptr)
    co_return Error{Errc::not_found, fmt::format("disk {}: not served here", disk_name)};
  co_return co_await disk->drain(progress);
}

Task<Result<void>> Host::stop() {
  Result<void> result;
  for (auto& disk : disks_) {
    const auto stopped = co_await disk->stop();
    if (!stopped) log_error("{}", stopped.error().message);
    if (result) result = stopped;
  }
  if (pool_ != nullptr) co_await pool_->stop();
  co_return result;
}

HostStats Host::stats() {
  HostStats stats;
  if (pool_ == nullptr) return stats;
  const log::SegmentSpace& space = pool_->space();
  stats.pool.size_bytes = space.size_bytes();
  stats.pool.used_bytes =
      (space.segment_count() - space.free_segments()) * space.segment_blocks() * kBlockBytes;
  stats.pool.index_bytes = space.memory_bytes() + pool_->admission().memory_bytes();
  stats.pool.staged_bytes = pool_->staging().held_blocks() * kBlockBytes;
  stats.pool.failed = pool_->failed();
  const log::WriteAccount& account = pool_->account();
  stats.pool.written.user = account.bytes[static_cast<size_t>(log::WriteCause::user)];
  stats.pool.written.admission = account.bytes[static_cast<size_t>(log::WriteCause::admission)];
  stats.pool.written.reinsertion = account.bytes[static_cast<size_t>(log::WriteCause::reinsertion)];
  stats.pool.written.metadata = account.bytes[static_cast<size_t>(log::WriteCause::metadata)];
  for (auto& disk : disks_) {
    stats.disks.push_back(disk->stats());
    stats.pool.dirty_bytes += stats.disks.back().dirty_bytes;
    stats.pool.index_bytes += disk->index_memory_bytes();
  }
  return stats;
}

}  // namespace latte
