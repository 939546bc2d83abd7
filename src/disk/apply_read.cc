// HybridDisk, what the applier reads: the blocks of a segment of the cloud log, from the pool as
// far as that has them, the rest from the cloud. Clouds sell operations and bandwidth, the drive
// does not.
//
// Never another version: what the pool gives counts only if it matches the cloud log's own checksum
// of that place, which is bound to the block's number and its write.
// Limits: kPoolReads under way, of kPoolRunBlocks at most.
#include <algorithm>

#include "base/logging.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

constexpr size_t kPoolReads = 16;
/// Largest read of the pool, in blocks (1 MiB).
constexpr size_t kPoolRunBlocks = 256;
/// Largest read of the cloud log.
constexpr uint64_t kCloudReadBytes = 1u << 20;

}  // namespace

/// Reads the blocks of `items` into their places and checks each. A bad one is taken from its clean
/// copy in the pool; without one it is lost. False if the cloud failed, there is no time, or the
/// segment must be looked at anew.
Task<bool> HybridDisk::read_for_apply(const log::LogStream::ChainSegment& segment,
                                      const std::vector<ApplyItem>& items,
                                      std::span<std::byte> bytes) {
  std::vector<uint8_t> good(items.size());
  if (local_usable()) co_await read_from_pool(items, bytes, good);
  const bool read = co_await read_missing(segment, items, good, bytes);
  if (!read) co_return false;
  bool all_good = true;
  for (const ApplyItem& item : items) {
    const auto block = bytes.subspan(size_t{item.offset_blocks} * kBlockBytes, kBlockBytes);
    if (cloud_space_->verify(item.address, block)) continue;
    const uint64_t local = local_index_.find(item.lba);
    bool rescued = false;
    if (local != BlockIndex::kNone && is_shipped(local)) {
      // Shipped and newest: the same version.
      log::SegmentSpace& space = pool_.space();
      const log::SegmentSpace::Pin pin(space, space.segment_of(local));
      const IoStatus status = co_await space.device().read(space.device_offset(local), block);
      rescued = status == IoStatus::ok && space.verify(local, block) &&
                cloud_index_.find(item.lba) == item.address;
    }
    // An early write that replaced it is as good once nothing can cut it off; until then it stays.
    const bool lost = !rescued && cloud_index_.erase_if(item.lba, item.address);
    stats_.checksum_errors += rescued || lost ? 1 : 0;
    all_good &= rescued;
    if (!lost) continue;
    log_error("disk {}: block {} is lost: its copy in the cloud log is damaged", name(),
              item.lba.value);
    ++stats_.lost_blocks;
    cloud_extents_.set(item.lba, 1, ExtentKind::lost, cloud_space_->seq(item.address));
    apply_work_.notify_all();
  }
  co_return all_good;
}

/// Reads what the pool has of `items`; `good` gets which of them passed the pool's check.
Task<void> HybridDisk::read_from_pool(const std::vector<ApplyItem>& items,
                                      std::span<std::byte> bytes, std::span<uint8_t> good) {
  log::SegmentSpace& space = pool_.space();
  IoGroup group(reactor_);
  std::vector<log::SegmentSpace::Pin> pins;
  for (size_t i = 0; i < items.size();) {
    const uint64_t local = local_index_.find(items[i].lba);
    const auto follows = [&](size_t run) {
      return items[i + run].offset_blocks == items[i].offset_blocks + run &&
             local_index_.find(items[i + run].lba) == local + run && is_shipped(local + run);
    };
    if (local == BlockIndex::kNone || !is_shipped(local)) {
      ++i;
      continue;
    }
    size_t run = 1;
    while (i + run < items.size() && run < kPoolRunBlocks && follows(run)) ++run;
    pins.emplace_back(space, space.segment_of(local));
    ++group.running;
    reactor_.spawn(
        read_hot(group, local,
                 bytes.subspan(size_t{items[i].offset_blocks} * kBlockBytes, run * kBlockBytes),
                 good.subspan(i, run)));
    i += run;
    while (group.running >= kPoolReads) co_await group.ended.wait();
  }
  while (group.running > 0) co_await group.ended.wait();
}

/// Reads from the cloud the pieces of the segment in which there are items that the pool did not
/// give. False if the cloud failed or there is no time.
Task<bool> HybridDisk::read_missing(const log::LogStream::ChainSegment& segment,
                                    const std::vector<ApplyItem>& items,
                                    std::span<const uint8_t> good, std::span<std::byte> bytes) {
  const uint64_t piece = std::min(kCloudReadBytes, cloud_log_device_.info().max_request_bytes);
  const uint64_t used = uint64_t{segment.used_blocks} * kBlockBytes;
  std::vector<bool> missing((used + piece - 1) / piece);
  for (size_t i = 0; i < items.size(); ++i) {
    const uint64_t at = uint64_t{items[i].offset_blocks} * kBlockBytes;
    const bool same =
        good[i] != 0 && cloud_space_->verify(items[i].address, bytes.subspan(at, kBlockBytes));
    if (!same) missing[at / piece] = true;
  }
  const uint64_t start = cloud_space_->device_offset(cloud_space_->address(segment.segment, 0));
  for (uint64_t at = 0; at < used; at += piece) {
    if (!missing[at / piece]) continue;
    const IoStatus status = co_await cloud_log_device_.background_read(
        start + at, bytes.subspan(at, std::min(piece, used - at)));
    if (status != IoStatus::ok || !may_apply()) co_return false;
  }
  co_return may_apply();
}

}  // namespace latte
