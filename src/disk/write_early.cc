// HybridDisk, early writes: what the dispatcher sends straight to the cloud log although older
// writes are still on their way there through the pool. A pool that is slow for a moment then
// delays what is in it, and nothing that comes after.
//
// What makes it safe (invariants 1 and 3 of hybrid_disk.h):
//  - Only blocks of which the cloud has, for good, the newest version: for each block the cloud log
//    stays in seq order, so that the applier and recovery need no more than that order.
//  - It counts for a take-over once the cloud has everything older, as any write does, and for the
//    lag until then. None while that is more than half of max_lag.
//  - The pool's older copies are called stale by notes before the cloud log is cut; until then
//    recovery sees it by the seqs. All of a segment's together, so that a slow pool has less to do.
//  - A cloud that is not as fast as usual is not waited for: the same blocks then go to the pool,
//    as another write behind the first. So do, at once, those that are to tell how long it takes.
//
// Limits: kMaxEarlyBlocks; kMaxEarlyBytes of memory; kMostNotes; the cloud log keeps room for
// all that is older: it is applied and cut only when it has that.
#include <algorithm>
#include <cstring>

#include "base/planted.h"
#include "disk/early_write.h"

namespace latte {
namespace {

constexpr uint64_t kMaxEarlyBlocks = 64;
constexpr uint64_t kMaxEarlyBytes = 16u << 20;
/// The lag may be such a part of max_lag.
constexpr TimeNs kLagPart = 2;
/// Notes that may wait for the cloud log to be cut: 2 MiB of them.
constexpr size_t kMostNotes = 64u << 10;
/// So much may wait to be shipped before it is known how long that takes.
constexpr uint64_t kMostUnmeasured = 256u << 10;
/// Where there is no limit on the lag: as where it is 2 s.
constexpr TimeNs kUsualLagNs = 2 * kSecond;
/// The pool's log does not stall before its oldest write has taken so long.
constexpr float kLeastStallUs = 500;
/// Segments of the cloud log that stay free beside, for the applier's notes and the open one.
constexpr uint64_t kEarlyReserve = 2;
/// An append that does not fit opens the next segment; at worst each is half empty.
constexpr uint64_t kWasteTimes = 2;

}  // namespace

/// The tier for a write; `own` is its ticket, if it is in the list. It counts as under way there.
DispatchTicket HybridDisk::choose_write_tier(const log::Append& write, const Ticket* own) {
  const uint64_t blocks = write.data_blocks();
  const bool choice = dispatch_ != nullptr && blocks > 0 &&
                      may_write_early(Lba(write.entry.lba), blocks) &&
                      (own == nullptr || !beside_others(*own));
  if (!choice) return begin_io(IoKind::write, blocks, Tier::local);
  if (pool_log_stalls() && !dispatch_->silent(Tier::cloud, reactor_.now()))
    return begin_io(IoKind::write, blocks, Tier::cloud);
  const DispatchIo io = io_now(IoKind::write, blocks);
  const bool obvious = dispatch_->obviously_local(io, reactor_.turn_length());
  return obvious ? dispatch_->begin_obvious(io) : dispatch_->choose(io);
}

/// Does another write that is under way overlap this one?
bool HybridDisk::beside_others(const Ticket& own) const {
  return tickets_.any_of([&](const Ticket& other) {
    return &other != &own && overlap(other.lba, other.count, own.lba, own.count);
  });
}

/// Is there room and time for such a write, and does nothing older stand in its way?
bool HybridDisk::may_write_early(Lba lba, uint64_t count) const {
  if (state_ != State::online || background_stop_ || draining_ || snapshotting_) return false;
  if (!local_usable() || cloud_stream_->failed() || pending_notes_.size() >= kMostNotes)
    return false;
  if (count > kMaxEarlyBlocks || early_bytes_ + count * kBlockBytes > kMaxEarlyBytes) return false;
  const TimeNs max_lag_ns = options_.max_lag_ns == kNoLagLimit ? kUsualLagNs : options_.max_lag_ns;
  if (lag_ns() > max_lag_ns / kLagPart) return false;
  // What is measured first counts for long: not with such writes in between.
  if (!pacer_.measured() && dirty_bytes_ > kMostUnmeasured) return false;
  // One after the other until it is known how long they take; none where the cloud sells no more.
  if (early_bytes_ > 0 && dispatch_->usual_us(Tier::cloud, IoKind::write) == 0) return false;
  if (meter_->time_for(1, count * kBlockBytes) > 0) return false;
  const uint64_t reserve = kEarlyReserve + segments_to_ship();
  return cloud_stream_->has_room(static_cast<uint32_t>(count), reserve) &&
         cloud_log_is_newest(lba, count);
}

/// Since when the oldest write is on its way into the pool's log; INT64_MAX: none is.
TimeNs HybridDisk::entering_since_ns() const {
  const PendingSeq* oldest =
      pending_seqs_.find_if([](const PendingSeq& pending) { return !pending.direct; });
  return oldest == nullptr ? INT64_MAX : oldest->since_ns;
}

/// Has the oldest write in the pool's log taken longer than the cloud would for this one? The log's
/// writes are acknowledged in its order, and what has hung for so long is as likely as not to go on
/// for as long again.
bool HybridDisk::pool_log_stalls() const {
  const float cloud_us = dispatch_->usual_us(Tier::cloud, IoKind::write);
  const float stall_us = std::max(kLeastStallUs, cloud_us);
  return cloud_us > 0 &&
         entering_since_ns() < reactor_.now() - static_cast<TimeNs>(stall_us * 1e3f);
}

/// Segments of the cloud log that what is in the pool's log by now may take there, at most.
uint64_t HybridDisk::segments_to_ship() const {
  const log::LogPosition begin = shipped_end();
  const log::LogPosition end = local_->assigned_end();
  uint64_t blocks = entering_blocks_;
  if (begin < end)
    blocks += (end.order - begin.order) * pool_.space().segment_blocks() + end.block -
              std::min(begin.block, end.block);
  const uint64_t segment_blocks = cloud_space_->segment_blocks();
  return kWasteTimes * (round_up(blocks, segment_blocks) / segment_blocks);
}

/// Does the cloud log or the base have, for good, the newest version of these blocks, and is that
/// data? What discards and losses leave in the cloud layer is not kept for the case that a
/// take-over cuts off what replaced it (gather_apply_work()).
bool HybridDisk::cloud_log_is_newest(Lba lba, uint64_t count) const {
  if (planted(Planted::early_over_unshipped)) return true;
  if (local_extents_.any_in(lba, count) || cloud_extents_.any_in(lba, count)) return false;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t local = local_index_.find(lba + i);
    if (local != BlockIndex::kNone && !is_shipped(local)) return false;
  }
  return true;
}

/// REQUIRES may_write_early(), and that nothing else writes to these blocks meanwhile.
std::shared_ptr<HybridDisk::EarlyWrite> HybridDisk::start_early_write(const log::Append& write,
                                                                      DispatchTicket timed) {
  const uint64_t bytes = write.entry.count * kBlockBytes;
  auto early = std::make_shared<EarlyWrite>(bytes, early_bytes_);
  std::memcpy(early->data.data(), write.data, bytes);
  early->timed = timed;
  early->append.entry = write.entry;
  early->append.data = early->data.data();
  early->pending.lba = Lba(write.entry.lba);
  early->pending.count = write.entry.count;
  early->pending.direct = early->pending.in_cloud_log = true;
  const bool admitted = cloud_stream_->admit(early->append, kEarlyReserve);
  LATTE_CHECK(admitted);
  take_seq(early->pending);
  ++background_tasks_;
  reactor_.spawn(run_early_write(early));
  return early;
}

Task<void> HybridDisk::run_early_write(std::shared_ptr<EarlyWrite> write) {
  co_await cloud_stream_->completed(write->append);
  const IoStatus status = co_await make_cloud_log_durable();
  end_io(write->timed, status);
  if (status == IoStatus::ok)
    finish_early_write(*write);
  else
    on_cloud_status(status);
  write->pending.unlink();
  write->append.status = status;
  write->done = true;
  write->race.wake(reactor_);
  cloud_progress_.notify_all();
  apply_work_.notify_all();
  --background_tasks_;
  active_ended_.notify_all();
}

/// It is in the cloud log for good.
void HybridDisk::finish_early_write(const EarlyWrite& write) {
  const Lba lba = write.pending.lba;
  const uint64_t count = write.pending.count;
  const Seq seq = write.pending.seq;
  install_cloud(lba, count, write.append.address, seq);
  early_written_bytes_ += count * kBlockBytes;
  while (!early_done_.empty() && early_done_.front().seq <= contiguous_seq())
    early_done_.pop_front();
  // Nearly in order: those that one flush made durable go on in any.
  auto place = early_done_.end();
  while (place != early_done_.begin() && std::prev(place)->seq > seq) --place;
  early_done_.insert(place, {seq, reactor_.now()});
  (write.overtaken ? stats_.early_overtaken_blocks : stats_.early_blocks) += count;
  if (write.overtaken) return;
  // What the pool had for quick reads stays in memory for a while.
  for (uint64_t i = 0; i < count && pool_.staging().on(); ++i)
    if (local_index_.find(lba + i) != BlockIndex::kNone)
      pool_.staging().put(*this, lba + i, write.data.span().subspan(i * kBlockBytes, kBlockBytes));
  forget_local(lba, count, seq);
  if (!planted(Planted::lost_invalidation)) note_stale_later(lba, count, seq);
}

/// Waits until it is done, or takes longer than usual and the pool would be sooner. Not at all
/// where it only serves to know the cloud: that costs no client time.
Task<void> HybridDisk::await_early_write(std::shared_ptr<EarlyWrite> write) {
  if (only_to_know(write->timed)) co_return;
  while (!write->done && going_on()) {
    const TimeNs due_ns = reactor_.now() + cloud_patience_ns(IoKind::write);
    while (!write->done && reactor_.now() < due_ns)
      co_await Race::Wait{reactor_, write->race, due_ns};
    // Only a pool that has not even done what it had before this write would not be sooner.
    if (entering_since_ns() > write->pending.since_ns) break;
  }
}

/// The pool's log is to say that its copies of these blocks are stale, before the cloud log is cut.
void HybridDisk::note_stale_later(Lba lba, uint64_t count, Seq seq) {
  if (!pending_notes_.empty()) {
    log::Entry& last = pending_notes_.back();
    const bool follows = last.lba + last.count == lba.value;
    if (follows) last.count += count;
    const bool covers = last.lba <= lba.value && lba.value + count <= last.lba + last.count;
    if (covers) {
      last.seq = std::max(last.seq, seq.value);
      return;
    }
  }
  pending_notes_.push_back(log::make_entry(log::EntryKind::invalidate, lba, count, seq));
}

}  // namespace latte
