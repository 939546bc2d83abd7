// HybridDisk, its two layers: what a write that is in a log changes in them.
#include <algorithm>

#include "base/planted.h"
#include "disk/hybrid_disk.h"

namespace latte {

void HybridDisk::install_local(const log::Append& append) {
  const Lba lba(append.entry.lba);
  const uint64_t count = append.entry.count;
  if (append.entry.kind == log::EntryKind::data) {
    for (uint64_t i = 0; i < count; ++i) local_index_.set(lba + i, append.address + i);
    local_extents_.erase(lba, count);
    dirty_bytes_ += count * kBlockBytes;
  } else {
    local_index_.erase_range(lba, count, [](Lba, uint64_t) {});
    local_extents_.set(lba, count, ExtentKind::zero, Seq(append.entry.seq));
  }
  last_local_seq_ = std::max(last_local_seq_, Seq(append.entry.seq));
  note_written(append.position);
}

/// Puts blocks of the cloud log into the cloud layer, except where something newer is there.
void HybridDisk::install_cloud(Lba lba, uint64_t count, log::BlockAddress address, Seq seq) {
  for (uint64_t i = 0; i < count; ++i) {
    const Lba block = lba + i;
    const uint64_t existing = cloud_index_.find(block);
    const bool check = !planted(Planted::drop_sequence_check);
    if (check && existing != BlockIndex::kNone && cloud_space_->seq(existing) > seq) continue;
    if (!cloud_extents_.empty()) {
      const auto hit = cloud_extents_.find(block, 1);
      if (check && hit.found && hit.seq > seq) continue;
      cloud_extents_.erase(block, 1);
    }
    cloud_index_.set(block, address + i);
  }
}

void HybridDisk::install_cloud_extent(Lba lba, uint64_t count, ExtentKind kind, Seq seq) {
  // Blocks that are newer than the extent stay; they are put back over it.
  std::vector<std::pair<Lba, uint64_t>> newer;
  cloud_index_.erase_range(lba, count, [&](Lba block, uint64_t address) {
    if (cloud_space_->seq(address) > seq) newer.emplace_back(block, address);
  });
  cloud_extents_.set_if_newer(lba, count, kind, seq);
  for (const auto& [block, address] : newer) {
    cloud_index_.set(block, address);
    cloud_extents_.erase(block, 1);
  }
}

void HybridDisk::forget_local(Lba lba, uint64_t count, Seq up_to) {
  local_index_.erase_range(lba, count, [](Lba, uint64_t) {});
  local_extents_.erase_up_to(lba, count, up_to);
}

}  // namespace latte
