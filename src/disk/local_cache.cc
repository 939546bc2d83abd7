// HybridDisk as the pool's reclaimer sees it: which of its segments can go, and what of them stays.
//
// S3-FIFO over segments: the oldest goes; blocks that were read since they were written, as often
// as the policy asks, are written again at the log's head (reinsertion), the rest is dropped at no
// cost, the cloud has it. Clients' data and the write budget may forbid that: then all of it is
// dropped.
// Limits: all but one part in kFreedShare of a segment's blocks are written again, kReinsertBlocks
// at a time.
#include <algorithm>

#include "base/buffer.h"
#include "base/planted.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// At least one part in so many of a segment's blocks is not written again, so that reclaiming
/// always frees room.
constexpr uint32_t kFreedShare = 8;
/// Blocks that are read and written again at a time (1 MiB).
constexpr size_t kReinsertBlocks = 256;

}  // namespace

size_t HybridDisk::reclaimable_segments() const {
  if (!local_ || state_ == State::recovering) return 0;
  // Another host has the disk: what this pool holds of it counts for nothing.
  if (state_ == State::fenced) return local_->idle() ? local_->chain().size() : 0;
  if (local_->failed()) return 0;
  const auto& chain = local_->chain();
  const log::LogPosition shipped = shipped_end();
  size_t count = 0;
  for (const auto& segment : chain) {
    const bool is_open = local_->open() && &segment == &chain.back();
    if (is_open) break;
    const bool done = segment.order < shipped.order ||
                      (segment.order == shipped.order && shipped.block >= segment.used_blocks);
    if (!done && !planted(Planted::reclaim_before_ship)) break;
    ++count;
  }
  return count;
}

Task<void> HybridDisk::seal_if_shipped() {
  if (!local_ || !local_usable() || !local_->open()) co_return;
  const bool shipped = !ship_pending() && pending_seqs_.empty() && local_->idle();
  if (!shipped) co_return;
  const IoStatus status = co_await local_->seal_open_segment();
  if (status != IoStatus::ok) on_local_failure(status);
}

Task<void> HybridDisk::evacuate_front() {
  if (state_ == State::fenced) {
    if (!local_->failed()) local_->fail(IoStatus::fenced);
    local_->close();
    // Nothing may be looked for in segments that are about to be another disk's.
    local_index_.erase_range(Lba(0), block_count_, [](Lba, uint64_t) {});
    local_extents_.erase(Lba(0), block_count_);
    co_return;
  }
  const log::LogStream::ChainSegment segment = local_->chain().front();
  evacuated_order_ = segment.order;
  log::SegmentSpace& space = pool_.space();
  const log::FoundSegment found = co_await log::find_footer(space, segment.segment, segment.salt);
  const log::SegmentContent content = co_await log::load_segment(space, found, segment.used_blocks);
  std::vector<Hot> hot;
  const log::BlockAddress low = space.address(segment.segment, 0);
  const log::BlockAddress high = low + space.segment_blocks();
  std::vector<Hot> blocks;
  if (content.unreadable || content.gap_inside || content.end_block < segment.used_blocks) {
    // Its own bytes don't tell any more; the index does.
    local_index_.for_each([&](Lba lba, uint64_t address) {
      if (address >= low && address < high) blocks.emplace_back(lba, address);
    });
  } else {
    for (const log::TableEntry& item : content.entries) {
      if (!log::has_data(item.entry.kind)) continue;
      for (uint64_t i = 0; i < item.entry.count; ++i)
        if (item.entry.lba + i < block_count_)
          blocks.emplace_back(Lba(item.entry.lba + i), low + item.data_block + i);
    }
  }
  const uint8_t bar = pool_.admission().reads_for_another_round();
  const size_t most = blocks.size() - (blocks.size() + kFreedShare - 1) / kFreedShare;
  for (const auto& [lba, address] : blocks) {
    if (local_index_.find(lba) != address) continue;
    if (space.accesses(address) >= bar && hot.size() < most)
      hot.emplace_back(lba, address);
    else
      local_index_.erase(lba);
  }
  co_await reinsert(hot);
}

/// Copies blocks to the log's head, kReinsertBlocks at a time at most, and lets go of the old ones.
Task<void> HybridDisk::reinsert(std::span<const Hot> hot) {
  log::SegmentSpace& space = pool_.space();
  while (!hot.empty()) {
    const auto batch = hot.first(std::min(hot.size(), kReinsertBlocks));
    hot = hot.subspan(batch.size());
    Buffer data(batch.size() * kBlockBytes);
    std::vector<uint8_t> good(batch.size());
    if (copies_welcome()) {
      IoGroup group(reactor_);
      for (size_t i = 0, run = 0; i < batch.size(); i += run) {
        for (run = 1; i + run < batch.size(); ++run)
          if (batch[i + run].second != batch[i].second + run) break;
        ++group.running;
        reactor_.spawn(read_hot(group, batch[i].second,
                                data.span().subspan(i * kBlockBytes, run * kBlockBytes),
                                std::span(good).subspan(i, run)));
      }
      while (group.running > 0) co_await group.ended.wait();
    }
    std::deque<log::Append> appends(batch.size());
    std::vector<uint8_t> admitted(batch.size());
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto [lba, address] = batch[i];
      // Nothing may be on its way to this block, to the cloud neither: a copy behind a newer write
      // in the log, or with a higher seq, would win at recovery.
      const bool current =
          good[i] != 0 && local_index_.find(lba) == address && !under_way(lba, 1, true);
      admitted[i] = current && admit_copy(appends[i], lba, 1, data.data() + i * kBlockBytes,
                                          log::WriteCause::reinsertion);
    }
    for (size_t i = 0; i < batch.size(); ++i)
      if (admitted[i] != 0) co_await local_->completed(appends[i]);
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto [lba, address] = batch[i];
      const IoStatus status = admitted[i] != 0 ? appends[i].status : IoStatus::stopped;
      if (status != IoStatus::ok) on_local_failure(status);
      if (local_index_.find(lba) != address) continue;
      if (status == IoStatus::ok) {
        local_index_.set(lba, appends[i].address);
        space.carry_accesses(address, appends[i].address);
      } else {
        local_index_.erase(lba);
      }
    }
  }
}

/// Reads blocks that lie one after the other; `good` gets which of them pass their check.
Task<void> HybridDisk::read_hot(IoGroup& group, log::BlockAddress address, std::span<std::byte> out,
                                std::span<uint8_t> good) {
  log::SegmentSpace& space = pool_.space();
  const IoStatus status = co_await log::read_blocks(space, address, out);
  for (size_t i = 0; i < good.size() && status == IoStatus::ok; ++i)
    good[i] = space.verify(address + i, out.subspan(i * kBlockBytes, kBlockBytes));
  --group.running;
  group.ended.notify_all();
}

void HybridDisk::cut_front(std::vector<uint32_t>& segments) {
  if (local_->chain().empty()) return;  // retired meanwhile
  const uint64_t order = local_->chain().front().order + 1;
  local_->cut_front(order, segments);
  log::StreamSlot* slot = pool_.space().find_stream(id_);
  LATTE_CHECK(slot != nullptr);
  // Segments that recovery cut off lie above the chain until they are written over. What says that
  // they are void is the chain, or, once that is gone, the tail.
  slot->tail_order = local_->chain().empty() ? local_->next_order() : order;
}

}  // namespace latte
