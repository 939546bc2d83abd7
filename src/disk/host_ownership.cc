// Host, what ties a disk to it: the owner in the cloud's superblock, and a slot of the pool's.
// Shared by adoption, attachment and take-over.
//
// Limits: kMaxDisks disks on a pool, whose cloud logs have kMinCloudLogSegments of its segments.
#include <fmt/format.h>

#include "base/logging.h"
#include "base/planted.h"
#include "disk/cloud_super.h"
#include "disk/host.h"
#include "disk/pool.h"
#include "log/recovery.h"

namespace latte {
namespace {

/// The shipper may have to take a damaged pool segment to the cloud in one piece.
constexpr uint64_t kMinCloudLogSegments = 4;

}  // namespace

Task<Result<log::CloudSuper>> Host::read_super(CloudVolume& cloud, const DiskOptions& disk) {
  LATTE_CHECK(pool_ != nullptr);
  const auto bytes = co_await cloud.read_super();
  if (!bytes) co_return on_disk(disk.name, bytes.error());
  auto super = log::parse_cloud_super(bytes.value(), cloud.name());
  if (!super) {
    Error error = super.error();
    if (error.code == Errc::not_found) error.code = Errc::damaged;
    co_return on_disk(disk.name, error);
  }
  const uint64_t size_bytes = super.value().size_bytes;
  // A disk that was resized knows its size better than the configuration that it was made with.
  if (size_bytes != disk.size_bytes && super.value().extent_bytes != 0)
    log_warning(
        "disk {}: it was resized to {} bytes, the configuration says {}; its own size counts",
        disk.name, size_bytes, disk.size_bytes);
  else if (size_bytes != disk.size_bytes)
    co_return Error{
        Errc::invalid,
        fmt::format("disk {}: size is {} bytes in the configuration, but {} in {}; put the "
                    "true size into the configuration",
                    disk.name, disk.size_bytes, size_bytes, cloud.name())};
  if (cloud.base().info().size_bytes < log::extent_of(super.value()))
    co_return Error{
        Errc::damaged,
        fmt::format("disk {}: {}: the base image is cut short: {} bytes instead of {}; restore it "
                    "from a copy",
                    disk.name, cloud.name(), cloud.base().info().size_bytes,
                    log::extent_of(super.value()))};
  co_return super;
}

Task<Result<void>> Host::swap_super(CloudVolume& cloud, const log::CloudSuper& current,
                                    log::CloudSuper& next) {
  next.generation = current.generation + (planted(Planted::forget_fencing) ? 0 : 1);
  if (next.owner_pool_id != current.owner_pool_id || next.epoch != current.epoch)
    next.epoch = next.generation;
  const SuperBytes bytes = seal_to_bytes(next);
  co_return co_await cloud.swap_super(current.generation, next.generation, bytes);
}

Task<Result<void>> Host::register_disk(const DiskOptions& disk, const log::CloudSuper& super,
                                       uint64_t cloud_log_bytes) {
  log::SegmentSpace& space = pool_->space();
  log::StreamSlot* slot = space.find_stream(super.disk_id);
  log::StreamSlot* named = space.find_stream_by_name(disk.name);
  if (named != nullptr && named != slot)
    co_return Error{Errc::exists,
                    fmt::format("disk {}: the pool {} knows another disk of this name "
                                "({}); choose another name",
                                disk.name, pool_device_.info().name, named->disk_id.to_string())};
  if (slot == nullptr) slot = space.free_slot();
  if (slot == nullptr)
    co_return Error{Errc::no_space, fmt::format("disk {}: the pool {} has its {} disks already",
                                                disk.name, pool_device_.info().name, kMaxDisks)};
  const uint64_t segment_bytes = uint64_t{space.segment_blocks()} * kBlockBytes;
  if (cloud_log_bytes < kMinCloudLogSegments * segment_bytes)
    co_return Error{
        Errc::invalid,
        fmt::format("disk {}: its cloud log of {} bytes is too small for this pool's segments of "
                    "{} bytes; it must be at least {} times as large",
                    disk.name, cloud_log_bytes, segment_bytes, kMinCloudLogSegments)};
  // What the pool still holds of the disk belongs to a history that ended.
  log::StreamRecoveryOptions options{super.disk_id, slot->epoch, slot->tail_order, 0};
  if (slot->disk_id == super.disk_id)
    for (const log::FoundSegment& item : log::own_segments(options, found_))
      if (!space.is_free(item.segment)) space.release(item.segment);
  *slot = log::StreamSlot{};
  slot->disk_id = super.disk_id;
  slot->epoch = super.epoch;
  set_name(slot->name, disk.name);
  co_return co_await pool_->write_super(disk.name);
}

}  // namespace latte
