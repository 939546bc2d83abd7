// HybridDisk, the planned way out: everything into the cloud, then the disk is nobody's, and the
// next host adopts it without loss and without force.
//
// Steps, timed in the log: ship while clients go on; hold their requests and ship the rest; give
// the superblock's owner up; end. If a step fails before the owner is gone, the held requests go on
// here. Limits: what is left is shipped within kHoldNs, or the attempt ends. A cloud that does not
// say whether the owner is gone is asked until it does; the requests are held for that long.
#include <fmt/format.h>

#include "base/logging.h"
#include "disk/cloud_super.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

constexpr TimeNs kHoldNs = 10 * kSecond;
/// Shipping while clients write never ends; this much time lets it come close.
constexpr TimeNs kShipNs = 30 * kSecond;
/// Little enough to ship while clients wait.
constexpr uint64_t kLittleBytes = 1u << 20;
constexpr TimeNs kLookNs = kMillisecond;
constexpr TimeNs kAskAgainNs = 200 * kMillisecond;

/// The superblock that gives the disk up.
log::CloudSuper nobodys(const log::CloudSuper& super) {
  log::CloudSuper next = super;
  next.owner_pool_id = Uuid{};
  next.generation = super.generation + 1;
  next.epoch = next.generation;
  return next;
}

}  // namespace

/// Waits with the client's request until it is clear who serves the disk.
Task<void> HybridDisk::run_held(IoRequest& request) {
  while (holding()) co_await state_changed_.wait();
  if (!submit(request)) reactor_.schedule(request.waiter);
}

/// Ships until at most `left_bytes` are not in the cloud and, for none, every seq is and no request
/// is under way. False if that took too long or the disk stopped.
Task<bool> HybridDisk::ship_down_to(uint64_t left_bytes, TimeNs limit_ns) {
  const State state = state_;
  const TimeNs deadline_ns = reactor_.now() + limit_ns;
  for (;;) {
    const bool little = left_bytes > 0 && dirty_bytes_ <= left_bytes;
    if (little || (active_ == 0 && contiguous_seq() == next_seq_ - 1)) co_return true;
    if (state_ != state || background_stop_ || reactor_.now() >= deadline_ns) co_return false;
    urgent_seq_ = std::max(urgent_seq_, next_seq_ - 1);
    ship_work_.notify_all();
    co_await reactor_.sleep(kLookNs);
  }
}

Task<Result<void>> HybridDisk::hand_over() {
  if (state_ != State::online)
    co_return Error{Errc::invalid, fmt::format("disk {}: is not online here{}{}; nothing was done",
                                               name(), reason_.empty() ? "" : ": ", reason_)};
  const TimeNs start_ns = reactor_.now();
  // Whether it got there or not: the limit that counts is that of the second step.
  (void)co_await ship_down_to(kLittleBytes, kShipNs);
  if (state_ != State::online)
    co_return Error{Errc::io, fmt::format("disk {}: {}; it was not handed over", name(),
                                          reason_.empty() ? "stopped meanwhile" : reason_)};
  const TimeNs held_ns = reactor_.now();
  state_ = State::handing_over;
  Result<void> given_up =
      Error{Errc::io, fmt::format("disk {}: the cloud did not take what was left within {} s; it "
                                  "was not handed over",
                                  name(), kHoldNs / kSecond)};
  if (co_await ship_down_to(0, kHoldNs)) {
    given_up = co_await give_up_ownership();
  } else if (state_ == State::handing_over) {
    state_ = State::online;
    wake_all();
  }
  if (!given_up) co_return given_up;
  co_await end_background();
  co_await cloud_stream_->quiesce();
  const auto released = co_await cloud_.release();
  if (!released) log_warning("disk {}: {}", name(), released.error().message);
  log_info("disk {}: handed over: shipped {} ms with clients, {} ms without", name(),
           (held_ns - start_ns) / kMillisecond, (reactor_.now() - held_ns) / kMillisecond);
  co_return Result<void>();
}

/// Makes the superblock say that the disk is nobody's. Ok: it does, and the disk is fenced here.
/// While the cloud does not tell, nobody is served: all of it is in the cloud, and what came now
/// might be adopted away.
Task<Result<void>> HybridDisk::give_up_ownership() {
  log::CloudSuper next = nobodys(super_);
  const SuperBytes bytes = seal_to_bytes(next);
  const auto swapped = co_await cloud_.swap_super(super_.generation, next.generation, bytes);
  if (swapped) {
    given_up(next);
    co_return Result<void>();
  }
  const TimeNs deadline_ns = reactor_.now() + kHoldNs;
  for (bool settled = false; !settled && reactor_.now() < deadline_ns;) {
    settled = co_await ask_whether_given_up();
    if (!settled) co_await reactor_.sleep(kAskAgainNs);
  }
  if (state_ == State::fenced && super_.owner_pool_id == Uuid{}) co_return Result<void>();
  std::string after = "it goes on here";
  if (state_ == State::handing_over) {
    reason_ =
        "a hand-over came half way, and the cloud does not tell whose the disk is: requests wait "
        "until it does";
    log_error("disk {}: {}", name(), reason_);
    ++background_tasks_;
    reactor_.spawn(await_owner());
    after = reason_;
  } else if (state_ != State::online) {
    after = reason_;
  }
  co_return Error{swapped.error().code, fmt::format("disk {}: not handed over: {}; {}", name(),
                                                    swapped.error().message, after)};
}

void HybridDisk::given_up(const log::CloudSuper& next) {
  super_ = next;
  state_ = State::fenced;
  reason_ =
      fmt::format("handed over (generation {}): any host may adopt it now with latte takeover",
                  super_.generation);
  wake_all();
}

/// Asks the cloud once whose the disk is, and acts on the answer. True if the question is settled,
/// or the disk does not hand over any more.
Task<bool> HybridDisk::ask_whether_given_up() {
  const CloudOwner owner = co_await read_owner(cloud_);
  if (state_ != State::handing_over) co_return true;
  if (!owner.answered) co_return false;
  const log::CloudSuper next = nobodys(super_);
  if (owner.is(Uuid{}) && owner.super->generation == next.generation) {
    given_up(next);
  } else if (owner.is(super_.owner_pool_id) && owner.super->generation == super_.generation) {
    state_ = State::online;
    reason_.clear();
    wake_all();
  } else {
    on_cloud_status(IoStatus::fenced);
  }
  co_return true;
}

Task<void> HybridDisk::await_owner() {
  for (bool settled = false; !settled && state_ == State::handing_over && !background_stop_;) {
    settled = co_await ask_whether_given_up();
    if (!settled) co_await reactor_.sleep(kAskAgainNs);
  }
  if (!background_stop_) log_info("disk {}: the hand-over ended: {}", name(), stats().state);
  --background_tasks_;
  active_ended_.notify_all();
}

/// The pool lets go of a disk that is fenced here, so that it can be taken over again.
Task<Result<void>> HybridDisk::retire() {
  LATTE_CHECK(state_ == State::fenced);
  co_await end_background();
  co_await local_->quiesce();
  co_await evacuate_front();
  std::vector<uint32_t> segments;
  while (!local_->chain().empty()) cut_front(segments);
  // Without a slot nobody looks for these segments under this disk's name again.
  *pool_.space().find_stream(id_) = log::StreamSlot{};
  const auto written = co_await pool_.write_super(name());
  if (!written) co_return written;
  for (const uint32_t segment : segments) pool_.space().release(segment);
  pool_.space().freed().notify_all();
  co_return Result<void>();
}

}  // namespace latte
