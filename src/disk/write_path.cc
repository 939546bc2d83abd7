// HybridDisk, the write path: tickets, pacing, the choice of tier, and installing what was written.
#include <algorithm>
#include <coroutine>
#include <cstring>
#include <utility>

#include "base/buffer.h"
#include "base/logging.h"
#include "base/planted.h"
#include "disk/early_write.h"

namespace latte {
namespace {

/// Segments of the cloud log that direct writes leave free, for the applier's notes.
constexpr uint64_t kNotesReserve = 1;

/// A cloud request unanswered for so long counts as an outage.
constexpr TimeNs kCloudAwayNs = kSecond;
/// A paced writer looks so often whether the disk is being stopped.
constexpr TimeNs kPaceStepNs = 50 * kMillisecond;

}  // namespace

struct HybridDisk::Ticket::Wait {
  Ticket& ticket;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) { ticket.waiter = handle; }
  void await_resume() const {}
};

Task<void> HybridDisk::acquire(Ticket& ticket) {
  ticket.order = ++last_ticket_;
  tickets_.push_back(ticket);
  if (ticket.exclusive) exclusive_tickets_.push_back(&ticket);
  if (planted(Planted::rmw_without_lock)) co_return;
  while (blocked(ticket)) {
    ++waiting_tickets_;
    co_await Ticket::Wait{ticket};
    --waiting_tickets_;
  }
}

/// Must it wait for one that came before it?
bool HybridDisk::blocked(const Ticket& ticket) const {
  const auto in_its_way = [&](const Ticket& other) {
    return other.order < ticket.order && overlap(other.lba, other.count, ticket.lba, ticket.count);
  };
  if (ticket.exclusive) return tickets_.any_of(in_its_way);
  return std::any_of(exclusive_tickets_.begin(), exclusive_tickets_.end(),
                     [&](const Ticket* other) { return in_its_way(*other); });
}

/// From now on nothing that overlaps goes on beside it. REQUIRES: nothing does.
void HybridDisk::make_exclusive(Ticket& ticket) {
  if (!ticket.exclusive) exclusive_tickets_.push_back(&ticket);
  ticket.exclusive = true;
}

void HybridDisk::release(Ticket& ticket) {
  ticket.unlink();
  if (ticket.exclusive) std::erase(exclusive_tickets_, &ticket);
  if (waiting_tickets_ == 0) return;
  // Only those it was in the way of: when many wait, most of them wait for others.
  tickets_.for_each([&](Ticket& other) {
    if (other.waiter == nullptr || !overlap(other.lba, other.count, ticket.lba, ticket.count))
      return;
    reactor_.schedule(std::exchange(other.waiter, nullptr));
  });
}

/// The write gets its place in the order. What is being fetched of its blocks is old from now on.
void HybridDisk::take_seq(PendingSeq& pending) {
  pending.seq = next_seq_;
  pending.since_ns = reactor_.now();
  ++next_seq_;
  pending_seqs_.push_back(pending);
  overtake_fetches(pending.lba, pending.count);
}

/// Is a write to any of these blocks in the pool's log already (or, if `direct_too`, in the
/// cloud's), but not in the index yet?
bool HybridDisk::under_way(Lba lba, uint64_t count, bool direct_too) const {
  return pending_seqs_.any_of([&](const PendingSeq& pending) {
    return (direct_too || !pending.direct) && overlap(pending.lba, pending.count, lba, count);
  });
}

Task<void> HybridDisk::pace(uint64_t bytes) {
  WritePacer::State state;
  state.dirty_bytes = dirty_bytes_;
  state.oldest_age_ns = lag_ns();
  const auto& space = pool_.space();
  if (local_usable())
    state.room_bytes = space.size_bytes() / std::max<uint64_t>(1, pool_.reserve_segments());
  state.log_free_bytes =
      cloud_space_->free_segments() * cloud_space_->segment_blocks() * kBlockBytes;
  // A cloud that does not answer at all can't be helped by slowing writers (promise 4).
  state.drain_away =
      log_retry_.oldest_wait_ns() > kCloudAwayNs || log_retry_.last_error() != IoStatus::ok;
  const DrainCost::Cost cost = drain_cost_.of(dirty_bytes_);
  state.limited_drain_ns =
      meter_->time_for(static_cast<uint64_t>(cost.operations), static_cast<uint64_t>(cost.bytes));
  const TimeNs now_ns = reactor_.now();
  const TimeNs start_ns = pacer_.admit(now_ns, bytes, state);
  if (start_ns <= now_ns) co_return;
  ship_work_.notify_all();
  stats_.throttled_ns += static_cast<uint64_t>(start_ns - now_ns);
  while (state_ == State::online && reactor_.now() < start_ns)
    co_await reactor_.sleep_until(std::min(start_ns, reactor_.now() + kPaceStepNs));
}

/// Where shares of the cloud's limits are not enough: the bound on the lag comes before reads, and
/// so does a client that waits for the cloud log, or for room in it, which applying makes.
bool HybridDisk::urgent(CloudClass io_class) const {
  if (io_class == CloudClass::foreground) return false;
  if (draining_ || cloud_room_wanted_) return true;
  if (io_class != CloudClass::ship) return false;
  const bool late = options_.max_lag_ns != kNoLagLimit && lag_ns() > options_.max_lag_ns / 2;
  return late || urgent_seq_ > contiguous_seq() || !local_usable();
}

bool HybridDisk::local_room(uint64_t blocks) const {
  return local_usable() &&
         local_->has_room(static_cast<uint32_t>(blocks), pool_.reserve_segments());
}

/// May a write go straight to the cloud log? Only behind all that are older, which is all others
/// for one that has no seq yet (`own` null): the log is applied and cut in order.
bool HybridDisk::cloud_room(uint64_t blocks, const PendingSeq* own) {
  if (cloud_stream_->failed() || ship_pending()) return false;
  bool behind = true;
  pending_seqs_.for_each([&](PendingSeq& pending) {
    const bool older = own == nullptr || pending.seq < own->seq;
    behind &= !older || pending.in_cloud_log;
  });
  return behind && cloud_stream_->has_room(static_cast<uint32_t>(blocks), kNotesReserve);
}

Task<IoStatus> HybridDisk::write_unaligned(uint64_t offset, std::span<const std::byte> data) {
  const uint64_t first = round_down(offset, kBlockBytes);
  const uint64_t end = round_up(offset + data.size(), kBlockBytes);
  const Lba lba(first / kBlockBytes);
  const uint64_t count = (end - first) / kBlockBytes;
  Buffer blocks(end - first);
  if (offset == first && data.size() == blocks.size()) {
    // Whole blocks in memory that was not aligned.
    std::memcpy(blocks.data(), data.data(), data.size());
    co_return co_await write_blocks(lba, count, blocks.data(), log::EntryKind::data, false);
  }
  Ticket ticket;
  ticket.lba = lba;
  ticket.count = count;
  ticket.exclusive = true;
  co_await acquire(ticket);
  IoStatus status = co_await read_blocks(lba, blocks.span().first(kBlockBytes), Keep::no);
  if (status == IoStatus::ok && count > 1)
    status = co_await read_blocks(lba + (count - 1), blocks.span().last(kBlockBytes), Keep::no);
  if (status == IoStatus::ok) {
    std::memcpy(blocks.data() + (offset - first), data.data(), data.size());
    status = co_await write_blocks(lba, count, blocks.data(), log::EntryKind::data, true);
  }
  release(ticket);
  co_return status;
}

Task<IoStatus> HybridDisk::write_blocks(Lba lba, uint64_t count, const std::byte* data,
                                        log::EntryKind kind, bool exclusive) {
  if (kind == log::EntryKind::zero)
    co_return co_await write_piece(lba, count, nullptr, kind, exclusive);
  const uint64_t piece = std::min(local_->max_append_blocks(), cloud_stream_->max_append_blocks());
  for (uint64_t at = 0; at < count; at += piece) {
    const uint64_t blocks = std::min(piece, count - at);
    // Each piece anew: what a large write began with may long be out of date.
    co_await pace(blocks * kBlockBytes);
    const IoStatus status =
        co_await write_piece(lba + at, blocks, data + at * kBlockBytes, kind, exclusive);
    if (status != IoStatus::ok) co_return status;
  }
  co_return IoStatus::ok;
}

Task<IoStatus> HybridDisk::write_piece(Lba lba, uint64_t count, const std::byte* data,
                                       log::EntryKind kind, bool exclusive) {
  Ticket ticket;
  ticket.lba = lba;
  ticket.count = count;
  const bool own_ticket = !exclusive;
  if (own_ticket) co_await acquire(ticket);
  const uint64_t blocks = log::has_data(kind) ? count : 0;
  PendingSeq pending;
  pending.lba = lba;
  pending.count = count;
  if (blocks > 0) pool_.admission().saw_write(admission_key_, lba, blocks);
  std::shared_ptr<EarlyWrite> early;
  IoStatus status = IoStatus::stopped;
  while (going_on()) {
    if (early != nullptr && early->done) {
      status = early->append.status;
      break;
    }
    WriteContext context;
    context.bytes = blocks * kBlockBytes;
    if (local_->failed()) on_local_failure(local_->failure());
    context.local_failed = !local_usable();
    context.local_has_room = local_room(blocks);
    context.cloud_has_room = cloud_room(blocks, nullptr);
    const Tier tier = policy_.choose(context);
    if (!context.local_has_room) pool_.want_room();
    if (tier == Tier::cloud && context.cloud_has_room && early == nullptr) {
      if (own_ticket && !ticket.exclusive) {
        // Again from the end of the queue, now alone on its blocks.
        release(ticket);
        ticket.exclusive = true;
        co_await acquire(ticket);
        continue;
      }
      pending.direct = true;
      take_seq(pending);
      status = co_await write_direct(lba, count, data, kind, pending, true);
      break;
    }
    if (tier == Tier::local && context.local_has_room) {
      log::Append append;
      append.entry = log::make_entry(kind, lba, count, next_seq_);
      append.data = data;
      const DispatchTicket timed = early == nullptr
                                       ? choose_write_tier(append, own_ticket ? &ticket : nullptr)
                                       : begin_io(IoKind::write, blocks, Tier::local);
      if (timed.tier == Tier::cloud) {
        if (own_ticket) make_exclusive(ticket);
        early = start_early_write(append, timed);
        co_await await_early_write(early);
        continue;
      }
      const bool admitted = local_->admit(append, pool_.reserve_segments());
      LATTE_CHECK(admitted);
      take_seq(pending);
      if (early != nullptr) early->overtaken = true;
      entering_blocks_ += blocks + 1;
      co_await local_->completed(append);
      entering_blocks_ -= blocks + 1;
      status = append.status;
      end_io(timed, status);
      if (status == IoStatus::ok) {
        install_local(append);
        break;
      }
      on_local_failure(status);
      pending.direct = true;
      cloud_progress_.notify_all();  // older ones may wait for this one to leave the pool
      status = co_await write_direct(lba, count, data, kind, pending, false);
      break;
    }
    if (state_ == State::stopped && early == nullptr) break;
    // No room on either side: reclaim, ship and apply make some.
    ship_work_.notify_all();
    cloud_room_wanted_ = true;
    apply_work_.notify_all();
    co_await cloud_progress_.wait();
  }
  if (state_ == State::fenced) status = IoStatus::fenced;
  if (state_ == State::failed) status = IoStatus::io_error;
  if (early != nullptr) early->overtaken = true;  // whatever comes next
  pending.unlink();
  if (own_ticket) release(ticket);
  cloud_progress_.notify_all();
  co_return status;
}

Task<IoStatus> HybridDisk::write_direct(Lba lba, uint64_t count, const std::byte* data,
                                        log::EntryKind kind, PendingSeq& pending, bool with_note) {
  log::Append append;
  append.entry = log::make_entry(kind, lba, count, pending.seq);
  append.data = data;
  // A write redirected from a failed pool waits for what is older: in the pool's log, or redirected
  // too.
  while (!cloud_stream_->failed() && !background_stop_ && going_on()) {
    if (cloud_room(append.data_blocks(), &pending) && cloud_stream_->admit(append, kNotesReserve))
      break;
    co_await wait_for_cloud_room();
  }
  const bool admitted = append.linked();
  if (!admitted && !cloud_stream_->failed()) co_return IoStatus::stopped;
  if (admitted) {
    pending.in_cloud_log = true;
    cloud_progress_.notify_all();  // the next one's turn
    co_await cloud_stream_->completed(append);
  }
  const IoStatus status = co_await make_cloud_log_durable();
  if (status != IoStatus::ok) {
    on_cloud_status(status);
    co_return status;
  }
  if (kind == log::EntryKind::data)
    install_cloud(lba, count, append.address, pending.seq);
  else
    install_cloud_extent(lba, count, ExtentKind::zero, pending.seq);
  forget_local(lba, count, pending.seq);
  // Only now, when the cloud has the blocks for good, may the pool's log call its older copies
  // stale.
  if (with_note && local_usable() && !planted(Planted::lost_invalidation)) {
    log::Append note;
    // The pool's log may have later writes by now: its seqs don't go back.
    note.entry = log::make_entry(log::EntryKind::invalidate, lba, count, next_seq_ - 1);
    note.cause = log::WriteCause::metadata;
    if (local_->admit(note, 0)) {
      co_await local_->completed(note);
      if (note.status != IoStatus::ok) on_local_failure(note.status);
    } else {
      note_stale_later(lba, count, pending.seq);
    }
  }
  apply_work_.notify_all();
  co_return IoStatus::ok;
}

/// What the cloud log has completed. What goes there directly is acknowledged only then: the pool
/// has no copy of it that would survive this process.
Task<IoStatus> HybridDisk::make_cloud_log_durable() {
  const IoStatus status = cloud_stream_->failure();
  if (status != IoStatus::ok || planted(Planted::skip_cloud_flush)) co_return status;
  co_return co_await cloud_stream_->flush_completed();
}

void HybridDisk::on_local_failure(IoStatus status) {
  // A fenced disk gave up its own stream; the pool is fine.
  if (status == IoStatus::stopped || state_ == State::fenced) return;
  if (!local_->failed()) local_->fail(status);
  if (abandoning_) return;
  abandoning_ = true;
  pool_.mark_failed();
  pool_.room().notify_all();
  log_error(
      "disk {}: the pool {} failed ({}); going on from the cloud. Replace the pool, then take the "
      "disk over with the new one",
      name(), pool_.space().device().info().name, to_string(status));
  ship_work_.notify_all();
  apply_work_.notify_all();
}

}  // namespace latte
