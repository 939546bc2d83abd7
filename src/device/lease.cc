#include "device/lease.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"
#include "base/logging.h"
#include "base/planted.h"

namespace latte {
namespace {

/// Looks at a stranger's lease while it is watched, and renewals of one's own, in a duration.
constexpr int64_t kLooksPerDuration = 8;
constexpr int64_t kRenewalsPerDuration = 8;
constexpr int kForcedClaims = 8;
/// A request refused in passing must not end a start, or a lease.
constexpr int kWriteTries = 3;
/// While it waits it looks so often whether it was given up.
constexpr TimeNs kStepNs = 500 * kMillisecond;
/// Who waits for its end looks so often.
constexpr TimeNs kEndStepNs = 10 * kMillisecond;

}  // namespace

Lease::Lease(Reactor& reactor, SessionDevice& log, Options options)
    : reactor_(reactor),
      log_(log),
      options_(std::move(options)),
      session_(Uuid::from_random(reactor.random().next(), reactor.random().next())),
      looked_(reactor) {
  LATTE_CHECK(options_.duration_ns >= kMinLeaseNs && options_.duration_ns <= kMaxLeaseNs);
}

bool Lease::holds() const {
  if (planted(Planted::lease_not_checked)) return state_ == State::held;
  return state_ == State::held && reactor_.now() < valid_until_ns_;
}

Task<Result<Lease::Block>> Lease::look() {
  const TimeNs begin_ns = reactor_.now();
  auto slots = std::make_unique<std::array<std::byte, kLeaseBytes>>();
  const IoStatus status = co_await log_.read_head(kLeaseOffset, *slots);
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("{}: the lease can't be read: {}{}{}", options_.where,
                                          to_string(status), log_.trouble().empty() ? "" : ": ",
                                          log_.trouble())};
  look_begin_ns_ = begin_ns;
  co_return parse_lease(*slots, options_.where);
}

/// Writes the block in this session's name, as often as it takes while it is time to; unless it is
/// sent in time, nothing happens.
Task<IoStatus> Lease::write_block(LeaseState state, TimeNs send_before_ns) {
  IoStatus status = IoStatus::io_error;
  for (int tries = 0; status == IoStatus::io_error && tries < kWriteTries; ++tries)
    status = co_await write_block_once(state, send_before_ns);
  co_return status;
}

Task<IoStatus> Lease::write_block_once(LeaseState state, TimeNs send_before_ns) {
  LeaseBlock lease{};
  lease.generation = generation_;
  lease.renewals = ++renewals_;
  lease.holder = options_.holder;
  lease.session = session_;
  lease.duration_ns = options_.duration_ns;
  lease.wall_time_ns = reactor_.wall_now();
  lease.state = state;
  seal_lease(lease);
  co_return co_await log_.write_head(lease_offset(renewals_), std::as_bytes(std::span(&lease, 1)),
                                     send_before_ns);
}

/// Watches another's lease until it has not changed for its whole duration.
Task<Result<void>> Lease::outwait(LeaseBlock other) {
  const TimeNs begin_ns = reactor_.now();
  const TimeNs pause_ns = other.duration_ns / kLooksPerDuration;
  for (;;) {
    co_await reactor_.sleep(pause_ns);
    // Counted from after the first look to before the last one.
    const bool long_enough = reactor_.now() - begin_ns >= other.duration_ns;
    const auto seen = co_await look();
    if (!seen) co_return seen.error();
    const Block& now = seen.value();
    const bool same = now && now->session == other.session && now->renewals == other.renewals;
    const bool released = now && now->state == LeaseState::released;
    if (released) co_return Result<void>();
    if (!same)
      co_return Error{
          Errc::busy,
          fmt::format("{}: its owner (pool {}, generation {}) is alive: it renewed its lease while "
                      "this host watched. Stop the server there first; if that can't be done and "
                      "you know that it will not write, latte takeover --force-unfenced DISKID",
                      options_.where, now ? now->holder.to_string() : other.holder.to_string(),
                      now ? now->generation : other.generation)};
    if (long_enough) co_return Result<void>();
  }
}

Error Lease::given_up() const {
  return Error{Errc::io, fmt::format("{}: the lease was given up", options_.where)};
}

/// False if the lease was given up since `term`.
Task<bool> Lease::wait(TimeNs duration_ns, uint64_t term) {
  const TimeNs until_ns = reactor_.now() + duration_ns;
  while (reactor_.now() < until_ns && !over(term))
    co_await reactor_.sleep_until(std::min(until_ns, reactor_.now() + kStepNs));
  co_return !over(term);
}

/// Writes this session's name, unless the last look is too old, gives others' writes time to land,
/// and looks whether it is still there.
Task<Result<void>> Lease::claim(TimeNs settle_ns, uint64_t term) {
  if (term != term_) co_return given_up();
  const IoStatus status = co_await write_block(LeaseState::held, look_begin_ns_ + settle_ns / 2);
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("{}: the lease can't be written: {}", options_.where,
                                          to_string(status))};
  if (!co_await wait(settle_ns, term)) co_return given_up();
  const auto seen = co_await look();
  if (!seen) co_return seen.error();
  if (over(term)) co_return given_up();
  if (seen.value()) renewals_ = std::max(renewals_, seen.value()->renewals);
  if (!mine(seen.value()))
    co_return Error{Errc::busy,
                    fmt::format("{}: another host took the lease at the same time; look which one "
                                "has the disk now, and try again",
                                options_.where)};
  // The claim itself was a renewal of long ago; this one counts from now.
  const TimeNs renewed_ns = reactor_.now();
  const TimeNs half_ns = options_.duration_ns / 2;
  const IoStatus renewed = co_await write_block(LeaseState::held, renewed_ns + half_ns / 4);
  if (renewed != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("{}: the lease can't be written: {}", options_.where,
                                          to_string(renewed))};
  if (term != term_) co_return given_up();
  valid_until_ns_ = renewed_ns + half_ns;
  ++claims_;
  co_return Result<void>();
}

Task<Result<void>> Lease::acquire(uint64_t generation) {
  LATTE_CHECK(state_ == State::none);
  const uint64_t term = term_;
  const auto seen = co_await look();
  // By force also from a block that nobody can read any more.
  const bool unreadable = !seen && options_.force && seen.error().code == Errc::damaged;
  if (!seen && !unreadable) co_return seen.error();
  TimeNs settle_ns = options_.duration_ns / 2;
  if (seen && seen.value() && !mine(seen.value())) {
    const LeaseBlock& other = *seen.value();
    settle_ns = std::max<TimeNs>(settle_ns, other.duration_ns / 2);
    const bool own = !options_.holder.is_nil() && other.holder == options_.holder;
    if (other.state == LeaseState::held && !own && options_.force) {
      log_warning("{}: the lease of pool {} (generation {}) is taken by force", options_.where,
                  other.holder.to_string(), other.generation);
    } else if (other.state == LeaseState::held && !own) {
      const Result<void> idle = co_await outwait(other);
      if (!idle) co_return idle;
    }
    renewals_ = std::max(renewals_, other.renewals);
  }
  generation_ = generation;
  Result<void> claimed = co_await claim(settle_ns, term);
  // A live owner may have renewed over the first claim; from its next look on it is silent.
  for (int i = 1; i < kForcedClaims && options_.force && !claimed; ++i) {
    if (claimed.error().code != Errc::busy) break;
    look_begin_ns_ = reactor_.now();  // whoever it is
    claimed = co_await claim(settle_ns, term);
  }
  if (!claimed) co_return claimed;
  state_ = State::held;
  if (!keeping_) reactor_.spawn(keep());
  keeping_ = true;
  co_return Result<void>();
}

Task<IoStatus> Lease::set_generation(uint64_t generation) {
  LATTE_CHECK(held());
  generation_ = generation;
  const TimeNs sent_ns = reactor_.now();
  const IoStatus status = co_await write_block(LeaseState::held, valid_until_ns_);
  if (status == IoStatus::ok)
    valid_until_ns_ = std::max(valid_until_ns_, sent_ns + options_.duration_ns / 2);
  co_return status;
}

/// Renews after a look: a take-over by force must not be overwritten. One that ran out is claimed
/// anew by that look, so that what is written when the cloud is back need not wait for it.
Task<void> Lease::keep() {
  bool unchecked = false;
  while (!ending_ && state_ == State::held) {
    (void)co_await wait(options_.duration_ns / kRenewalsPerDuration, term_);
    if (ending_ || state_ != State::held) continue;
    const uint64_t claims_before = claims_;
    IoStatus seen = co_await confirm();
    unchecked |= claims_ != claims_before && check_;
    if (seen == IoStatus::ok && unchecked) seen = co_await check_();
    if (seen == IoStatus::ok) unchecked = false;
    if (seen != IoStatus::ok || ending_ || !holds()) continue;
    const TimeNs sent_ns = reactor_.now();
    const IoStatus status = co_await write_block(LeaseState::held, valid_until_ns_);
    if (status == IoStatus::ok)
      valid_until_ns_ = std::max(valid_until_ns_, sent_ns + options_.duration_ns / 2);
  }
  keeping_ = false;
}

Task<IoStatus> Lease::confirm() {
  if (planted(Planted::lease_not_checked)) co_return IoStatus::ok;
  const uint64_t ticket = ++asked_;
  while (answered_ < ticket) {
    if (state_ == State::lost) co_return IoStatus::fenced;
    if (state_ == State::none) co_return IoStatus::fenced;
    if (!looking_) {
      looking_ = true;
      reactor_.spawn(look_for_all());
    }
    co_await looked_.wait();
  }
  co_return answer_;
}

Task<void> Lease::look_for_all() {
  const uint64_t covers = asked_;
  const IoStatus status = co_await look_once();
  answer_ = status;
  answered_ = covers;
  looking_ = false;
  looked_.notify_all();
}

void Lease::lose() {
  if (state_ == State::lost) return;
  state_ = State::lost;
  log_error("{}: another host has the lease; this one writes no more", options_.where);
}

Task<IoStatus> Lease::look_once() {
  const uint64_t term = term_;
  const auto seen = co_await look();
  if (!seen) co_return IoStatus::io_error;
  if (!mine(seen.value())) {
    if (term == term_) lose();
    co_return IoStatus::fenced;
  }
  if (holds()) co_return IoStatus::ok;
  if (over(term)) co_return IoStatus::io_error;  // given up: not to be claimed again
  // It ran out (the cloud was away, or this process was stopped), but nobody took it.
  const Result<void> claimed = co_await claim(options_.duration_ns / 2, term);
  if (claimed) co_return IoStatus::ok;
  if (claimed.error().code != Errc::busy) co_return IoStatus::io_error;
  lose();
  co_return IoStatus::fenced;
}

Task<IoStatus> Lease::release() {
  ending_ = true;
  // A renewal under way must not land behind the release. What has run out is not renewed.
  while (keeping_ && holds()) co_await reactor_.sleep(kEndStepNs);
  const bool was_held = held();
  const bool in_time = holds();
  // Before the block is written: whoever sees it may be the next one to write.
  if (was_held) state_ = State::none;
  ++term_;
  ending_ = false;
  if (!was_held) co_return IoStatus::ok;
  if (!in_time || releasing_) co_return IoStatus::io_error;
  releasing_ = true;
  reactor_.spawn(write_release());
  while (releasing_ && reactor_.now() < valid_until_ns_) co_await reactor_.sleep(kEndStepNs);
  co_return releasing_ ? IoStatus::io_error : released_;
}

Task<void> Lease::write_release() {
  released_ = co_await write_block(LeaseState::released, valid_until_ns_);
  releasing_ = false;
}

Task<void> Lease::finish() {
  while (keeping_ || looking_ || releasing_) co_await reactor_.sleep(kEndStepNs);
}

}  // namespace latte
