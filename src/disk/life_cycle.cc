// HybridDisk, its life: start, drain, stop, and the ends it can come to.
//
// Limits: a stop waits kStopShipNs at most for what a failed pool can't keep.
#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// How long a stop waits for the cloud: for clients' requests that it has not answered, and to get
/// what a failed pool can't keep.
constexpr TimeNs kStopShipNs = 30 * kSecond;
constexpr TimeNs kStopLookNs = 10 * kMillisecond;

}  // namespace

void HybridDisk::start() {
  LATTE_CHECK(state_ == State::recovering);
  state_ = State::online;
  if (pool_.failed()) pool_failed();
  background_tasks_ = 5;
  reactor_.spawn(run_shipper());
  reactor_.spawn(run_applier());
  reactor_.spawn(run_admitter());
  reactor_.spawn(forward_room(pool_.room()));
  reactor_.spawn(forward_room(cloud_space_->freed()));
}

/// Whoever lacks room waits for one thing, progress in the cloud; free segments wake them as well.
Task<void> HybridDisk::forward_room(WaitQueue& freed) {
  while (!background_stop_) {
    co_await freed.wait();
    cloud_progress_.notify_all();
    apply_work_.notify_all();
  }
  --background_tasks_;
  active_ended_.notify_all();
}

Task<Result<void>> HybridDisk::drain(Progress* progress) {
  draining_ = true;
  const uint64_t start = dirty_bytes_ + cloud_index_.size() * kBlockBytes;
  for (;;) {
    const uint64_t left = dirty_bytes_ + cloud_index_.size() * kBlockBytes;
    if (progress != nullptr) {
      progress->total_bytes = std::max(start, left);
      progress->done_bytes = std::max(start, left) - left;
    }
    ship_work_.notify_all();
    apply_work_.notify_all();
    const bool empty = !ship_pending() && pending_seqs_.empty() && cloud_stream_->chain().empty();
    // Lost blocks can't go to the base; their notes stay in the log.
    const uint64_t lost = cloud_extents_.blocks(ExtentKind::lost);
    const bool only_lost = lost > 0 && left == 0 && !ship_pending() && pending_seqs_.empty() &&
                           cloud_extents_.blocks(ExtentKind::zero) == 0;
    if (only_lost) {
      draining_ = false;
      co_return Error{
          Errc::damaged,
          fmt::format("disk {}: {} blocks are lost (their only copy was unreadable) and "
                      "can't be drained; write or trim them, then drain again",
                      name(), lost)};
    }
    const bool ended = empty || background_stop_ || state_ != State::online;
    if (ended) break;
    co_await cloud_progress_.wait();
  }
  draining_ = false;
  if (state_ == State::fenced) co_return Error{Errc::not_owner, reason_};
  if (state_ != State::online)
    co_return Error{Errc::io, "disk " + name() +
                                  ": stopped while draining; what is not yet in the "
                                  "base stays in the logs"};
  co_return Result<void>();
}

/// A stopped disk takes no longer than its flush: what is dirty stays in the pool. Unless the pool
/// can't be flushed: then the cloud gets it, if it answers.
Task<void> HybridDisk::settle() {
  IoStatus status = local_->failed() ? local_->failure() : co_await local_->flush();
  if (status == IoStatus::ok) co_return;
  on_local_failure(status);
  const TimeNs limit_ns = reactor_.now() + kStopShipNs;
  while (ship_pending() && going_on() && reactor_.now() < limit_ns) {
    ship_work_.notify_all();
    co_await reactor_.sleep(kStopLookNs);
  }
}

Task<Result<void>> HybridDisk::stop() {
  const bool was_online = state_ == State::online || holding();
  if (was_online) state_ = State::stopped;
  state_changed_.notify_all();
  pool_.room().notify_all();
  cloud_progress_.notify_all();
  const TimeNs limit_ns = reactor_.now() + kStopShipNs;
  while (active_ > 0 && reactor_.now() < limit_ns) co_await reactor_.sleep(kStopLookNs);
  if (was_online) co_await settle();
  const bool unsafe = was_online && going_on() && local_->failed() && ship_pending();
  co_await end_background();
  if (was_online && local_usable()) co_await close_local_log();
  if (local_) co_await local_->quiesce();
  if (cloud_stream_) co_await cloud_stream_->quiesce();
  state_ = State::stopped;
  if (unsafe)
    co_return Error{
        Errc::io,
        fmt::format(
            "disk {}: the pool {} failed ({}), and {} bytes did not reach the cloud in {} s; they "
            "may be lost with the host's power: serve the disk again before",
            name(), pool_.space().device().info().name, to_string(local_->failure()), dirty_bytes_,
            kStopShipNs / kSecond)};
  co_return Result<void>();
}

/// Ends shipping and applying, and whatever still waits for the cloud.
Task<void> HybridDisk::end_background() {
  background_stop_ = true;
  base_retry_.stop();
  log_retry_.stop();
  meter_->stop();
  ship_timer_.cancel();
  wake_all();
  if (cloud_space_) cloud_space_->freed().notify_all();
  co_await base_retry_.end_waiting();
  co_await log_retry_.end_waiting();
  while (background_tasks_ > 0 || active_ > 0) co_await active_ended_.wait();
}

/// Ends the pool's log with a table that says that all before it was flushed. What goes bad behind
/// a clean stop is then damage, and not taken for the end of what survived.
Task<void> HybridDisk::close_local_log() {
  IoStatus status = co_await local_->flush();
  if (status == IoStatus::ok) status = co_await local_->seal_open_segment();
  if (status == IoStatus::ok) status = co_await pool_.space().device().flush();  // the table
  if (status != IoStatus::ok)
    log_warning("disk {}: closing the pool's log failed: {}", name(), to_string(status));
}

void HybridDisk::enter(State state, const std::string& reason) {
  // A disk that is being stopped can still find out that it may not go on; then nobody waits for
  // it.
  if (background_stop_ || state_ == State::fenced || state_ == state) return;
  state_ = state;
  reason_ = reason;
  log_error("disk {}: {}", name(), reason);
  wake_all();
}

/// Whoever waits looks at the state again.
void HybridDisk::wake_all() {
  state_changed_.notify_all();
  ship_work_.notify_all();
  apply_work_.notify_all();
  admit_work_.notify_all();
  cloud_progress_.notify_all();
  pool_.room().notify_all();
  pool_.poke();
}

void HybridDisk::on_cloud_status(IoStatus status) {
  if (status == IoStatus::fenced)
    enter(
        State::fenced,
        fmt::format("fenced: another host took the disk over (this host attached it as generation "
                    "{}); this host serves it no more",
                    super_.generation));
  else if (status != IoStatus::ok && status != IoStatus::stopped)
    enter(State::failed, fmt::format("cloud volume {}: {}", cloud_.name(), to_string(status)));
}

}  // namespace latte
