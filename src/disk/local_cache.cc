// HybridDisk as the pool's reclaimer sees it: which of its segments can go, and what of them stays.
//
// S3-FIFO over segments: the oldest goes; blocks that were read since they were written are written
// again at the log's head (reinsertion), the rest is dropped at no cost, the cloud has it. Limits:
// one part in kReinsertShare of a segment's blocks is written again.
#include <algorithm>

#include "base/buffer.h"
#include "base/planted.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// At most one part in so many of a segment's blocks is written again, so that reclaiming always
/// frees room.
constexpr uint32_t kReinsertShare = 2;

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
  log::SegmentSpace& space = pool_.space();
  const log::FoundSegment found = co_await log::find_footer(space, segment.segment, segment.salt);
  const log::SegmentContent content = co_await log::load_segment(space, found, segment.used_blocks);
  std::vector<std::pair<Lba, log::BlockAddress>> hot;
  const log::BlockAddress low = space.address(segment.segment, 0);
  const log::BlockAddress high = low + space.segment_blocks();
  const auto visit = [&](Lba lba, log::BlockAddress address) {
    if (local_index_.find(lba) != address) return;
    if (space.accesses(address) > 0 && hot.size() < space.segment_blocks() / kReinsertShare)
      hot.emplace_back(lba, address);
    else
      local_index_.erase(lba);
  };
  if (content.unreadable || content.gap_inside || content.end_block < segment.used_blocks) {
    // Its own bytes don't tell any more; the index does.
    std::vector<std::pair<Lba, log::BlockAddress>> live;
    local_index_.for_each([&](Lba lba, uint64_t address) {
      if (address >= low && address < high) live.emplace_back(lba, address);
    });
    for (const auto& [lba, address] : live) visit(lba, address);
  } else {
    for (const log::TableEntry& item : content.entries) {
      if (!log::has_data(item.entry.kind)) continue;
      for (uint64_t i = 0; i < item.entry.count; ++i)
        if (item.entry.lba + i < block_count_)
          visit(Lba(item.entry.lba + i), low + item.data_block + i);
    }
  }
  co_await reinsert(hot);
}

/// Copies blocks to the log's head and lets go of the old copies.
Task<void> HybridDisk::reinsert(const std::vector<std::pair<Lba, log::BlockAddress>>& hot) {
  log::SegmentSpace& space = pool_.space();
  Buffer data(kBlockBytes);
  for (const auto& [lba, address] : hot) {
    log::Append append;
    bool admitted = false;
    if (local_index_.find(lba) == address && local_usable()) {
      const IoStatus status =
          co_await space.device().read(space.device_offset(address), data.span());
      // Nothing may be on its way to this block, to the cloud neither: a copy behind a newer write
      // in the log, or with a higher seq, would win at recovery.
      const bool current = status == IoStatus::ok && space.verify(address, data.span()) &&
                           local_index_.find(lba) == address && !under_way(lba, 1, true);
      if (current && local_usable() && local_->has_room(1, pool_.reserve_segments() + 1)) {
        append.entry.seq = (next_seq_ - 1).value;
        append.entry.lba = lba.value;
        append.entry.count = 1;
        append.entry.kind = log::EntryKind::copy;
        append.data = data.data();
        append.cause = log::WriteCause::reinsertion;
        admitted = local_->admit(append, pool_.reserve_segments() + 1);
      }
    }
    if (admitted) {
      co_await local_->completed(append);
      if (append.status != IoStatus::ok) on_local_failure(append.status);
    }
    const bool moved = admitted && append.status == IoStatus::ok;
    if (local_index_.find(lba) != address) continue;
    if (moved)
      local_index_.set(lba, append.address);
    else
      local_index_.erase(lba);
  }
}

void HybridDisk::cut_front(std::vector<uint32_t>& segments) {
  if (local_->chain().empty()) return;  // retired meanwhile
  const uint64_t order = local_->chain().front().order + 1;
  local_->cut_front(order, segments);
  log::StreamSlot* slot = pool_.space().find_stream(id_);
  LATTE_CHECK(slot != nullptr);
  slot->tail_order = order;
}

}  // namespace latte
