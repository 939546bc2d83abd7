// HybridDisk, the shipper: takes the pool's log to the cloud's, in order, in large appends. Its
// pace sets the recovery point: what it has not shipped is lost with the host.
//
// Invariants: 1. shipped_ advances only when the cloud log has made everything up to there durable.
// Reading the pool's log: ship_load.cc, and ship_damaged.cc where it can't be read.
#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "base/planted.h"
#include "disk/ship_batch.h"

namespace latte {
namespace {

/// Enough to ship at once, without waiting for more.
constexpr uint64_t kShipAtOnceBytes = 1u << 20;
/// Longest wait for more, so that an idle disk is soon safe in the cloud.
constexpr TimeNs kMaxShipDelayNs = 500 * kMillisecond;
/// Samples of how old the log is at which place; halved in number when full.
constexpr size_t kMaxLagSamples = 4096;
constexpr TimeNs kLagSampleStepNs = 2 * kMillisecond;
/// Segments of the cloud log that shipping leaves to the applier, which has to write notes to go
/// on.
constexpr uint64_t kCarryReserve = 1;

}  // namespace

TimeNs HybridDisk::ship_delay_ns() const {
  if (options_.max_lag_ns == kNoLagLimit) return kMaxShipDelayNs;
  return std::min(options_.max_lag_ns / 4, kMaxShipDelayNs);
}

void HybridDisk::note_written(log::LogPosition end) {
  const TimeNs now_ns = reactor_.now();
  const bool first = lag_head_ == lag_samples_.size();
  if (first || now_ns - lag_samples_.back().time_ns >= kLagSampleStepNs) {
    if (lag_head_ > kMaxLagSamples) {
      lag_samples_.erase(lag_samples_.begin(),
                         lag_samples_.begin() + static_cast<std::ptrdiff_t>(lag_head_));
      lag_head_ = 0;
    }
    if (lag_samples_.size() - lag_head_ >= kMaxLagSamples) {
      // Thin out to every other one; each sample keeps the older time, so lag is never understated.
      size_t to = lag_head_;
      for (size_t from = lag_head_; from + 1 < lag_samples_.size(); from += 2)
        lag_samples_[to++] = LagSample{lag_samples_[from + 1].end, lag_samples_[from].time_ns};
      lag_samples_.resize(to);
    }
    lag_samples_.push_back(LagSample{end, now_ns});
  } else {
    lag_samples_.back().end = std::max(lag_samples_.back().end, end);
  }
  if (dirty_bytes_ >= kShipAtOnceBytes || first) ship_work_.notify_all();
}

/// When the oldest write that the cloud lacks was acknowledged, or INT64_MAX.
TimeNs HybridDisk::oldest_unshipped_ns() const {
  if (!ship_pending() || lag_head_ == lag_samples_.size()) return INT64_MAX;
  return lag_samples_[lag_head_].time_ns;
}

TimeNs HybridDisk::lag_ns() const {
  TimeNs oldest_ns = oldest_unshipped_ns();
  const Seq certain = contiguous_seq();
  const auto early =
      std::partition_point(early_done_.begin(), early_done_.end(),
                           [&](const EarlyDone& done) { return done.seq <= certain; });
  if (early != early_done_.end()) oldest_ns = std::min(oldest_ns, early->time_ns);
  return oldest_ns == INT64_MAX ? 0 : std::max<TimeNs>(0, reactor_.now() - oldest_ns);
}

bool HybridDisk::ship_pending() const { return shipped_seq_ < last_local_seq_; }

/// The pool's log up to here holds nothing that the cloud lacks: shipped_, or everything if what
/// follows are only notes and copies.
log::LogPosition HybridDisk::shipped_end() const {
  const bool entering =
      pending_seqs_.any_of([](const PendingSeq& pending) { return !pending.direct; });
  return !entering && !ship_pending() ? std::max(shipped_, local_->completed_end()) : shipped_;
}

Seq HybridDisk::contiguous_seq() const {
  Seq seq = next_seq_ - 1;
  if (ship_pending()) seq = std::min(seq, shipped_seq_);
  if (!pending_seqs_.empty())
    seq = std::min(seq, const_cast<HybridDisk*>(this)->pending_seqs_.front().seq - 1);
  contiguous_floor_ = std::max(contiguous_floor_, seq);
  return contiguous_floor_;
}

Task<IoStatus> HybridDisk::wait_in_cloud(Seq seq) {
  while (contiguous_seq() < seq) {
    if (state_ == State::fenced) co_return IoStatus::fenced;
    if (state_ == State::failed) co_return IoStatus::io_error;
    if (background_stop_) co_return IoStatus::stopped;
    urgent_seq_ = std::max(urgent_seq_, seq);
    ship_work_.notify_all();
    co_await cloud_progress_.wait();
  }
  co_return IoStatus::ok;
}

Task<void> HybridDisk::run_shipper() {
  while (!background_stop_ && going_on()) {
    co_await await_ship_work();
    if (background_stop_) break;
    if (!ship_pending()) continue;
    const log::LogPosition before = shipped_;
    const Seq seq_before = shipped_seq_;
    const bool ok = co_await ship_once();
    if (!ok && !background_stop_) break;
    const bool progress = shipped_ != before || shipped_seq_ != seq_before;
    // Nothing is left to read, and nothing on its way that could bring what is missing.
    const bool at_end = shipped_ >= local_->completed_end() && local_->idle();
    if (!progress && at_end && pending_seqs_.empty())
      enter(State::failed,
            fmt::format("the pool's log ends without the writes up to {} that its tables name; "
                        "restore the pool, or replace it with a new one (latte create) and take "
                        "the disk over from the cloud (latte takeover)",
                        last_local_seq_.value));
  }
  --background_tasks_;
  active_ended_.notify_all();
}

/// Returns when there is a batch worth sending, or the disk stops.
Task<void> HybridDisk::await_ship_work() {
  while (!background_stop_ && going_on()) {
    if (ship_pending()) {
      const bool urgent = draining_ || urgent_seq_ > contiguous_seq() || !local_usable() ||
                          dirty_bytes_ >= kShipAtOnceBytes || cloud_progress_.has_waiters();
      const TimeNs due_ns = oldest_unshipped_ns() + ship_delay_ns();
      if (urgent || due_ns <= reactor_.now()) co_return;
      // Woken by the timer or by note_written(), whichever is first.
      if (!ship_timer_.armed()) reactor_.spawn(wake_shipper_at(due_ns));
    }
    co_await ship_work_.wait();
  }
}

Task<void> HybridDisk::wake_shipper_at(TimeNs due_ns) {
  struct Sleep {
    Reactor& reactor;
    Timer& timer;
    TimeNs due_ns;
    bool await_ready() const { return timer.armed(); }
    void await_suspend(std::coroutine_handle<> waiter) { reactor.arm_timer(timer, due_ns, waiter); }
    void await_resume() const {}
  };
  co_await Sleep{reactor_, ship_timer_, due_ns};
  ship_work_.notify_all();
}

Task<bool> HybridDisk::ship_once() {
  ShipBatch batch(&ship_memory_);
  const TimeNs start_ns = reactor_.now();
  const bool loaded = co_await load_ship_batch(batch);
  if (!loaded) co_return false;
  co_await read_lost_again(batch);
  shipping_ = &batch;
  const bool appended = co_await append_ship_batch(batch);
  shipping_ = nullptr;
  if (!appended) co_return false;
  finish_ship_batch(batch);
  // Only a batch that had company tells how fast the cloud can go.
  const bool alone = !ship_pending() && batch.data_bytes < kShipAtOnceBytes;
  pacer_.on_drained(batch.data_bytes, reactor_.now() - start_ns, alone);
  co_return true;
}

/// A seq that goes in several appends counts only with its last one. Its pieces follow each other:
/// a seq has one entry with data or zeroes in the pool's log (write_piece() gives each of them a
/// new one; notes and copies, which repeat a seq, are not shipped), take_ship_entry() adds all
/// pieces of an entry before anything else, by record as by table, and the gaps' seqs were never
/// given out. Only load_damaged() mixes them.
void HybridDisk::mark_pieces(ShipBatch& batch, size_t index) {
  log::Entry& entry = batch.items[index].append.entry;
  entry.flags = 0;
  const size_t count = batch.items.size();
  const size_t end = batch.damaged ? count : std::min(index + 2, count);
  for (size_t i = index + 1; i < end && entry.flags == 0; ++i)
    if (batch.items[i].append.entry.seq == entry.seq) entry.flags = log::kMorePieces;
}

/// Waits for what may let an append into the cloud log.
Task<void> HybridDisk::wait_for_cloud_room() {
  cloud_room_wanted_ = true;
  apply_work_.notify_all();
  ship_work_.notify_all();
  co_await cloud_progress_.wait();
}

Task<bool> HybridDisk::append_ship_batch(ShipBatch& batch) {
  if (planted(Planted::reorder_ship)) {
    for (size_t i = 0, j = batch.items.size(); i + 1 < j; ++i, --j)
      std::swap(batch.items[i].append.entry.seq, batch.items[j - 1].append.entry.seq);
  }
  note_shipped_before(batch);
  bool going = true;
  while (going && batch.admitted < batch.items.size()) {
    log::Append& append = batch.items[batch.admitted].append;
    mark_pieces(batch, batch.admitted);
    if (cloud_stream_->failed() || background_stop_ || !going_on()) break;
    if (!cloud_stream_->admit(append, kCarryReserve)) {
      // What is in so far can be finished, so that the applier may follow and make room.
      if (batch.admitted > batch.finished)
        going = co_await finish_admitted(batch);
      else
        co_await wait_for_cloud_room();
      continue;
    }
    ++batch.admitted;
  }
  const bool finished = co_await finish_admitted(batch);
  co_return finished&& batch.finished == batch.items.size();
}

/// Waits until what was queued is durable in the cloud, then installs it.
Task<bool> HybridDisk::finish_admitted(ShipBatch& batch) {
  for (size_t i = batch.finished; i < batch.admitted; ++i)
    co_await cloud_stream_->completed(batch.items[i].append);
  const IoStatus status = co_await make_cloud_log_durable();
  if (status != IoStatus::ok) {
    on_cloud_status(status);
    co_return false;
  }
  for (; batch.finished < batch.admitted; ++batch.finished)
    install_shipped(batch.items[batch.finished]);
  note_shipped_before(batch);
  cloud_progress_.notify_all();
  apply_work_.notify_all();
  co_return true;
}

/// Every local seq below that of the batch's first unfinished item is in the cloud. Said before the
/// item itself gets room: the applier may depend on just that.
void HybridDisk::note_shipped_before(const ShipBatch& batch) {
  if (batch.damaged || batch.finished == batch.items.size()) return;
  const Seq next(batch.items[batch.finished].append.entry.seq);
  shipped_seq_ = std::max(shipped_seq_, next - 1);
}

/// Hands what is durable in the cloud over to the cloud layer.
void HybridDisk::install_shipped(const ShipItem& item) {
  const log::Entry& entry = item.append.entry;
  const Lba lba(entry.lba);
  switch (entry.kind) {
    case log::EntryKind::data:
      install_cloud(lba, entry.count, item.append.address, Seq(entry.seq));
      break;
    case log::EntryKind::zero:
      install_cloud_extent(lba, entry.count, ExtentKind::zero, Seq(entry.seq));
      local_extents_.erase_up_to(lba, entry.count, Seq(entry.seq));
      break;
    case log::EntryKind::lost:
      for (uint64_t i = 0; i < entry.count && item.local_address != kUnknownAddress; ++i) {
        if (!local_index_.erase_if(lba + i, item.local_address + i)) continue;
        ++stats_.lost_blocks;
        log_error("disk {}: block {} is lost: its only copy in the pool is unreadable", name(),
                  lba.value + i);
      }
      install_cloud_extent(lba, entry.count, ExtentKind::lost, Seq(entry.seq));
      break;
    default:
      break;
  }
}

/// The whole batch is in the cloud.
void HybridDisk::finish_ship_batch(ShipBatch& batch) {
  shipped_ = std::max(shipped_, batch.end);
  shipped_seq_ = std::max(shipped_seq_, batch.last_seq);
  dirty_bytes_ -= std::min(dirty_bytes_, batch.data_bytes);
  const CloudUse use = meter_->use_behind();
  drain_cost_.on_shipped(batch.data_bytes + early_written_bytes_,
                         {static_cast<double>(use.operations), static_cast<double>(use.bytes)});
  early_written_bytes_ = 0;
  if (!ship_pending()) {
    dirty_bytes_ = 0;
    lag_head_ = lag_samples_.size();
  }
  while (lag_head_ < lag_samples_.size() && lag_samples_[lag_head_].end < shipped_) ++lag_head_;
  cloud_progress_.notify_all();
  apply_work_.notify_all();
  pool_.poke();
}

}  // namespace latte
