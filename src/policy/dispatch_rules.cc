#include "policy/dispatch_rules.h"

namespace latte {
namespace {

constexpr float kTooSlow = 4;

/// The tier with the lower figure; local if equal.
template <typename Figure>
Tier lower(const DispatchState& state, Figure figure) {
  return figure(state, Tier::cloud) < figure(state, Tier::local) ? Tier::cloud : Tier::local;
}

uint32_t depth(const TierQueue& queue) { return queue.count[0] + queue.count[1]; }

}  // namespace

float expected_wait_us(const TierQueue& queue, IoKind kind) {
  return static_cast<float>(depth(queue) + 1) * queue.wait_us[static_cast<size_t>(kind)];
}

Tier choose_local(const DispatchState& state, const DispatchIo& io) {
  (void)state, (void)io;
  return Tier::local;
}

Tier choose_cloud(const DispatchState& state, const DispatchIo& io) {
  (void)state, (void)io;
  return Tier::cloud;
}

Tier choose_last_latency(const DispatchState& state, const DispatchIo& io) {
  return lower(state, [&](const DispatchState& of, Tier tier) {
    return of.history(tier, io.kind).latency_log2[0];
  });
}

Tier choose_moving_average(const DispatchState& state, const DispatchIo& io) {
  return lower(state, [&](const DispatchState& of, Tier tier) {
    return of.history(tier, io.kind).slow_latency_us;
  });
}

Tier choose_outstanding_bytes(const DispatchState& state, const DispatchIo& io) {
  (void)io;
  return lower(state, [](const DispatchState& of, Tier tier) { return of.queue(tier).bytes; });
}

Tier choose_shortest_wait(const DispatchState& state, const DispatchIo& io) {
  return lower(state, [&](const DispatchState& of, Tier tier) {
    return expected_wait_us(of.queue(tier), io.kind);
  });
}

Tier choose_two_choices(const DispatchState& state, const DispatchIo& io) {
  const float local_us = state.history(Tier::local, io.kind).slow_latency_us;
  const float cloud_us = state.history(Tier::cloud, io.kind).slow_latency_us;
  if (local_us > kTooSlow * cloud_us) return Tier::cloud;
  if (cloud_us > kTooSlow * local_us) return Tier::local;
  return lower(state, [](const DispatchState& of, Tier tier) { return depth(of.queue(tier)); });
}

}  // namespace latte
