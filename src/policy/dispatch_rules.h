// The simple rules a dispatcher is compared with, and falls back on. Each reads the state and keeps
// nothing.
#pragma once

#include <array>
#include <string_view>

#include "policy/dispatch_state.h"

namespace latte {

/// Depth x latency per depth: what one more I/O of `kind` may take, in us; 0: none has completed.
float expected_wait_us(const TierQueue& queue, IoKind kind);

struct DispatchRule {
  std::string_view name;
  Tier (*choose)(const DispatchState& state, const DispatchIo& io);
};

Tier choose_local(const DispatchState& state, const DispatchIo& io);
Tier choose_cloud(const DispatchState& state, const DispatchIo& io);
/// The tier whose last completion of the kind was faster.
Tier choose_last_latency(const DispatchState& state, const DispatchIo& io);
/// ... whose moving average (a 32nd of each new one) is lower.
Tier choose_moving_average(const DispatchState& state, const DispatchIo& io);
/// ... that has fewer bytes under way; local if equal.
Tier choose_outstanding_bytes(const DispatchState& state, const DispatchIo& io);
/// ... where depth x latency per depth is lower. The fallback.
Tier choose_shortest_wait(const DispatchState& state, const DispatchIo& io);
/// ... that has fewer I/Os under way, unless its average is over four times the other's.
Tier choose_two_choices(const DispatchState& state, const DispatchIo& io);

/// All of them, in the order of reports.
inline constexpr std::array<DispatchRule, 7> kDispatchRules = {{
    {"always-local", choose_local},
    {"always-cloud", choose_cloud},
    {"last latency", choose_last_latency},
    {"moving average", choose_moving_average},
    {"outstanding bytes", choose_outstanding_bytes},
    {"shortest wait", choose_shortest_wait},
    {"two choices", choose_two_choices},
}};

}  // namespace latte
