#include "policy/dispatcher.h"

#include <algorithm>

namespace latte {
namespace {

/// Nothing completed for so long while something is under way: the tier counts
/// as dead.
constexpr TimeNs kSilentNs = 500 * kMillisecond;
/// A silent or dead tier gets one I/O so often.
constexpr TimeNs kProbeNs = 250 * kMillisecond;
/// A tier of which nothing was heard for so long gets an I/O, ...
constexpr TimeNs kExploreNs = 5 * kMillisecond;
/// ... or so long if it was many times slower then, ...
constexpr TimeNs kExploreSlowNs = 40 * kMillisecond;
constexpr float kManyTimes = 8;
/// ... but at most one in so many, and a larger one than this only after so long.
constexpr uint32_t kExploreEvery = 128;
constexpr uint32_t kExploreBytes = 64u << 10;
constexpr TimeNs kExploreLargeNs = kSecond;

/// Where the pool takes no longer than so many turns of the reactor, it is the reactor that takes
/// long.
constexpr float kTurns = 3;
/// A read is obviously the pool's if the cloud would take so many times as long.
constexpr float kClearTimes = 4;

}  // namespace

bool Dispatcher::silent(Tier tier, TimeNs now_ns) const {
  const TierQueue& queue = state_.queue(tier);
  if (queue.dead) return true;
  // 0: none of the kind.
  const auto [one_ns, other_ns] = std::minmax(queue.oldest_ns[0], queue.oldest_ns[1]);
  const TimeNs oldest_ns = one_ns != 0 ? one_ns : other_ns;
  return oldest_ns != 0 && now_ns - oldest_ns > kSilentNs &&
         now_ns - queue.last_completion_ns > kSilentNs;
}

/// May `tier`, which was not chosen for a while, get an I/O like `io` again?
bool Dispatcher::exploration_is_due(Tier tier, const DispatchIo& io) const {
  const auto kind = static_cast<size_t>(io.kind);
  const TimeNs since_ns = io.now_ns - last_sent_ns_[DispatchState::index(tier)][kind];
  // One after the other, of whatever size, until the tier is known.
  if (!state_.window_is_full(tier, io.kind))
    return state_.queue(tier).count[kind] == 0 && since_ns >= kExploreSlowNs;
  if (since_exploration_[kind] < kExploreEvery) return false;
  if (io.bytes > kExploreBytes && since_ns < kExploreLargeNs) return false;
  // As the last one there found it, if that was faster.
  const float slow_us = std::min(state_.history(tier, io.kind).slow_latency_us,
                                 state_.queue(tier).fast_latency_us[kind]);
  const float chosen_us = state_.history(other_tier(tier), io.kind).slow_latency_us;
  const TimeNs wait_ns = slow_us > kManyTimes * chosen_us ? kExploreSlowNs : kExploreNs;
  return since_ns >= wait_ns;
}

/// Is it time that `tier`, which was not chosen, gets `io` all the same?
bool Dispatcher::wants_exploration(Tier tier, const DispatchIo& io) {
  uint32_t& since = since_exploration_[static_cast<size_t>(io.kind)];
  ++since;
  if (!exploration_is_due(tier, io)) return false;
  since = 0;
  return true;
}

/// Is `pool_us`, what the pool is likely to take, below the limit, and has nothing there taken
/// longer by now?
bool Dispatcher::pool_is_within(float limit_us, float pool_us, const DispatchIo& io) const {
  const TierQueue& local = state_.queue(Tier::local);
  const TimeNs since_ns = local.oldest_ns[static_cast<size_t>(io.kind)];
  const float age_us = since_ns == 0 ? 0 : static_cast<float>(io.now_ns - since_ns) / 1e3f;
  return std::max(pool_us, age_us) < limit_us;
}

bool Dispatcher::reactor_bound(const DispatchIo& io, TimeNs turn_ns) const {
  // Not per depth: a turn's first I/O finds an empty queue, and takes as long as its last.
  const float usual_us = state_.history(Tier::local, io.kind).slow_latency_us;
  return pool_is_within(kTurns * static_cast<float>(turn_ns) / 1e3f, usual_us, io);
}

bool Dispatcher::much_sooner_locally(const DispatchIo& io) const {
  const float pool_us = expected_wait_us(state_.queue(Tier::local), io.kind);
  const float cloud_us = std::min(expected_wait_us(state_.queue(Tier::cloud), io.kind),
                                  state_.history(Tier::cloud, io.kind).slow_latency_us);
  return pool_is_within(cloud_us / kClearTimes, pool_us, io);
}

bool Dispatcher::obviously_local(const DispatchIo& io, TimeNs turn_ns) {
  if (silent(Tier::local, io.now_ns)) return false;
  if (!silent(Tier::cloud, io.now_ns) && exploration_is_due(Tier::cloud, io)) return false;
  // Which write will find the drive at its collection is the model's to say.
  const bool clear = io.kind == IoKind::read && much_sooner_locally(io);
  if (!clear && !reactor_bound(io, turn_ns)) return false;
  ++since_exploration_[static_cast<size_t>(io.kind)];
  return true;
}

Tier Dispatcher::decide(const DispatchIo& io, DispatchTicket& ticket) {
  using Reason = DispatchTicket::Reason;
  fetch_svm_weights(model_, io.kind);
  make_svm_inputs(state_, io, inputs_);
  // Exploration tells of a cloud of which nothing is known, not every I/O until the first ends.
  const bool cloud_is_known = state_.history(Tier::cloud, io.kind).slow_latency_us > 0;
  const Tier by_rule = cloud_is_known ? choose_shortest_wait(state_, io) : Tier::local;
  if (new_model_.take(model_, model_version_)) {
    trained_ = true;
    for (ModelTrust& trust : trust_) trust.replace_model();
  }
  // It was not trained on windows that are empty.
  const bool known =
      state_.window_is_full(Tier::local, io.kind) && state_.window_is_full(Tier::cloud, io.kind);
  if (!trained_ || !known) {
    last_score_ = 0;
    return by_rule;
  }
  last_score_ = svm_score(model_, io.kind, inputs_);
  // 0: a kind that the model knows nothing of.
  const Tier by_model = last_score_ > 0 ? Tier::cloud : last_score_ < 0 ? Tier::local : by_rule;
  const ModelTrust& trust = trust_[static_cast<size_t>(io.kind)];
  ticket.reason = trust.trusted() ? Reason::model : Reason::rule;
  if (by_model == by_rule) return by_rule;
  // As many of either are judged, so that they come from the same time.
  const uint64_t drawn = random_.below(trust.check_every());
  ticket.judged = drawn < 2;
  const bool check = drawn == 0;
  if (check) ticket.reason = trust.trusted() ? Reason::rule_check : Reason::model_check;
  return trust.trusted() != check ? by_model : by_rule;
}

DispatchTicket Dispatcher::begin(const DispatchIo& io) {
  DispatchTicket ticket;
  ticket.io = io;
  ticket.tier = decide(io, ticket);
  ticket.model = model_version_;
  const bool chosen_silent = silent(ticket.tier, io.now_ns);
  const bool other_silent = silent(other_tier(ticket.tier), io.now_ns);
  const auto kind = static_cast<size_t>(io.kind);
  if (chosen_silent && !other_silent) {
    const TimeNs last_ns = last_sent_ns_[DispatchState::index(ticket.tier)][kind];
    if (io.now_ns - last_ns < kProbeNs) ticket.tier = other_tier(ticket.tier);
    ticket.reason = DispatchTicket::Reason::silent;
    ticket.judged = false;
  } else if (!other_silent && wants_exploration(other_tier(ticket.tier), io)) {
    ticket.tier = other_tier(ticket.tier);
    ticket.reason = DispatchTicket::Reason::exploration;
    ticket.judged = false;
  }
  if (ticket.judged)
    ticket.toll_us = model_.tolls.us(ticket.tier, io.kind, depth_log2(inputs_, ticket.tier));
  last_sent_ns_[DispatchState::index(ticket.tier)][kind] = io.now_ns;
  ticket.slot = state_.note_submission(ticket.tier, io);
  return ticket;
}

DispatchTicket Dispatcher::begin_on(const DispatchIo& io, Tier tier) {
  DispatchTicket ticket;
  ticket.io = io;
  ticket.tier = tier;
  last_sent_ns_[DispatchState::index(tier)][static_cast<size_t>(io.kind)] = io.now_ns;
  ticket.slot = state_.note_submission(tier, io);
  return ticket;
}

void Dispatcher::end(const DispatchTicket& ticket, TimeNs now_ns, bool ok) {
  using Reason = DispatchTicket::Reason;
  state_.note_completion(ticket.tier, ticket.slot, ticket.io, now_ns, ok && !ticket.only_counts);
  if (!ok || !ticket.judged || ticket.model != model_version_) return;
  const bool by_model = ticket.reason == Reason::model || ticket.reason == Reason::model_check;
  const float latency_us = static_cast<float>(now_ns - ticket.io.now_ns) / 1e3f;
  trust_[static_cast<size_t>(ticket.io.kind)].judge(by_model, latency_us + ticket.toll_us);
}

}  // namespace latte
