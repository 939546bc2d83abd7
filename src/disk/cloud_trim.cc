// HybridDisk, cutting the cloud log: what must be durable elsewhere before a segment of it goes,
// and the end of a failed pool.
//
// Invariants: those of applier.cc.
#include <algorithm>
#include <deque>

#include "base/planted.h"
#include "disk/cloud_super.h"
#include "disk/ship_batch.h"

namespace latte {

/// Is anything of these blocks in the cloud log's stream, but not installed yet?
bool HybridDisk::on_its_way_to_cloud(Lba lba, uint64_t count) {
  bool found = false;
  pending_seqs_.for_each([&](PendingSeq& pending) {
    found |= pending.in_cloud_log && overlap(pending.lba, pending.count, lba, count);
  });
  if (shipping_ == nullptr) return found;
  for (size_t i = shipping_->finished; i < shipping_->admitted && !found; ++i) {
    const log::Entry& entry = shipping_->items[i].append.entry;
    found = entry.kind != log::EntryKind::empty && overlap(Lba(entry.lba), entry.count, lba, count);
  }
  return found;
}

/// What the segment has of blocks that are lost and of which nothing newer is in the cloud log.
/// Blocks found lost while reading this segment are in the extents as well, under a data entry.
std::deque<log::Append> HybridDisk::lost_in(const log::SegmentContent& content) const {
  std::deque<log::Append> lost;  // stable addresses
  for (const log::TableEntry& item : content.entries) {
    if (item.entry.kind != log::EntryKind::lost && item.entry.kind != log::EntryKind::data)
      continue;
    cloud_extents_.for_each_in(
        Lba(item.entry.lba), item.entry.count,
        [&](Lba lba, uint64_t count, const ExtentMap::Range& range) {
          if (range.kind != ExtentKind::lost || range.seq.value != item.entry.seq) return;
          if (!lost.empty() && lost.back().entry.seq == range.seq.value &&
              lost.back().entry.lba + lost.back().entry.count == lba.value) {
            lost.back().entry.count += count;
            return;
          }
          log::Append& append = lost.emplace_back();
          append.entry.seq = range.seq.value;
          append.entry.lba = lba.value;
          append.entry.count = count;
          append.entry.kind = log::EntryKind::lost;
          append.cause = log::WriteCause::metadata;
        });
  }
  return lost;
}

/// Is something newer on its way? It may be an early write, which a take-over may yet cut off: then
/// the segment is looked at anew when it is there.
bool HybridDisk::losses_overtaken(const std::deque<log::Append>& lost) {
  return std::any_of(lost.begin(), lost.end(), [this](const log::Append& append) {
    return on_its_way_to_cloud(Lba(append.entry.lba), append.entry.count);
  });
}

/// What is lost is written again at the log's head, or it would be forgotten. All goes into one
/// record, which takes no more room than the segment that goes; shipping leaves that free
/// (kCarryReserve). Never behind a newer version of the block: that one's segment would be cut
/// first, and what is lost would stand for it. False if the segment must be looked at anew.
Task<bool> HybridDisk::carry_lost(const log::SegmentContent& content) {
  if (planted(Planted::forget_lost_blocks)) co_return true;
  std::deque<log::Append> lost = lost_in(content);
  if (losses_overtaken(lost)) co_return false;
  if (lost.empty()) co_return true;
  size_t admitted = 0;
  while (admitted < lost.size() && !cloud_stream_->failed() &&
         cloud_stream_->admit(lost[admitted], 0))
    ++admitted;
  for (size_t i = 0; i < admitted; ++i) co_await cloud_stream_->completed(lost[i]);
  if (admitted < lost.size()) co_return false;
  const IoStatus status = co_await cloud_stream_->flush();
  co_return status == IoStatus::ok;
}

/// Highest seq in the cloud log's segments below `order`.
Seq HybridDisk::highest_seq_before(uint64_t order) const {
  uint64_t seq = 0;
  for (const auto& segment : cloud_stream_->chain())
    if (segment.order < order) seq = std::max<uint64_t>(seq, segment.max_seq);
  return Seq(seq);
}

Task<bool> HybridDisk::trim_cloud_log(uint64_t tail_order) {
  // A flush of the stream's own may have failed with nobody asking.
  if (local_->failed()) on_local_failure(local_->failure());
  if (abandoning_ && !pool_abandoned_) co_return false;
  if (!planted(Planted::trim_before_apply)) {
    const IoStatus flushed = co_await base_.flush();
    if (flushed != IoStatus::ok) {
      on_cloud_status(flushed);
      co_return false;
    }
  }
  // Everything of the segments that go; contiguous_seq() is not below it (front_appliable()).
  Seq void_seq(0);
  if (local_usable()) {
    const bool noted = co_await write_pending_notes();
    const IoStatus status = co_await local_->flush();
    if (status != IoStatus::ok) {
      on_local_failure(status);
      co_return false;
    }
    // A full pool has no room for notes, and gets none before the cloud log has. So the superblock
    // calls void what the notes were to be about; it costs no more than cached copies at a restart.
    if (!noted) void_seq = highest_seq_before(tail_order);
    // What goes from the cloud log no longer tells recovery that an older copy in the pool is
    // stale: if the pool has lost what does, it must know of that.
    cloud_space_->pool_mark() = {super_.epoch, local_->durable_end()};
  }
  log::StreamSlot* slot = cloud_space_->find_stream(id_);
  LATTE_CHECK(slot != nullptr);
  slot->tail_order = tail_order;
  slot->void_seq = std::max(slot->void_seq, void_seq.value);
  slot->floor_seq = std::max(slot->floor_seq, contiguous_seq().value);
  const IoStatus status = co_await cloud_space_->write_super();
  if (status != IoStatus::ok) {
    on_cloud_status(status);
    co_return false;
  }
  std::erase_if(pending_notes_, [&](const log::Entry& note) { return note.seq <= void_seq.value; });
  std::vector<uint32_t> segments;
  cloud_stream_->cut_front(tail_order, segments);
  for (const uint32_t segment : segments) cloud_space_->release(segment);
  cloud_room_wanted_ = false;
  cloud_progress_.notify_all();
  ship_work_.notify_all();
  co_return true;
}

/// The pool failed and everything it held has been shipped (or is known to be lost). Raise the
/// epoch: should the device come back at the next start, its stale content is refused instead of
/// served.
Task<bool> HybridDisk::abandon_pool() {
  if (storing_size_) co_return false;  // one swap at a time; it wakes us
  log::CloudSuper next = super_;
  next.generation = super_.generation + 1;
  next.epoch = next.generation;
  const SuperBytes bytes = seal_to_bytes(next);
  const auto swapped = co_await cloud_.swap_super(super_.generation, next.generation, bytes);
  if (!swapped && swapped.error().code == Errc::busy) {
    // An earlier try may have taken effect without our hearing of it: then the superblock is ours.
    const CloudOwner owner = co_await read_owner(cloud_);
    if (!owner.answered) co_return true;
    const bool ours = owner.is(super_.owner_pool_id) &&
                      owner.super->generation == next.generation &&
                      owner.super->epoch == next.epoch;
    if (!ours) {
      on_cloud_status(IoStatus::fenced);
      co_return false;
    }
    super_ = *owner.super;
    co_return true;
  }
  if (!swapped) {
    co_await reactor_.sleep(kSecond);  // the cloud is away: again later
    co_return true;
  }
  super_ = next;
  pool_abandoned_ = true;
  co_return true;
}

}  // namespace latte
