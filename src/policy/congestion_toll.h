// Congestion tolls: what an I/O costs the others. One more under way on a tier makes those that
// share it slower. If every I/O goes where it is done sooner itself, the faster tier fills up until
// it is as slow as the other, and all wait: selfish routing, Pigou's example (Roughgarden, "Selfish
// Routing and the Price of Anarchy", 2005). If each is charged what it costs the others as well -
// their number times what one more adds to a latency - all together take least.
//
// A toll is N dL/dN, L the usual latency with N under way: the elasticity of the latency, d log L /
// d log N, times L. Both come from the tier's completions, sorted by how many were under way when
// they began. An elasticity over 1 is no congestion: L is N over the throughput (Little), and that
// does not fall where more is under way. Stalls are in it: on a drive that is overloaded the writes
// cause them; for one with another cause too much is charged, until it is forgotten. What a write
// costs reads is not seen.
//
// Thread rule: none; values.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "policy/dispatch_state.h"

namespace latte {

struct CongestionTolls {
  /// 1, 2, 4, ... under way; nearest in the logarithm.
  static constexpr size_t kDepths = 12;
  /// In us, by tier, kind and depth.
  std::array<std::array<std::array<float, kDepths>, kIoKinds>, kTiers> toll_us{};

  static size_t place(float depth_log2) {
    if (!(depth_log2 < kDepths - 1)) return kDepths - 1;
    return static_cast<size_t>(std::max(0.0f, depth_log2) + 0.5f);
  }
  /// `depth_log2`: of the I/Os under way there, itself included.
  float us(Tier tier, IoKind kind, float depth_log2) const {
    const auto& of_tier = toll_us[DispatchState::index(tier)];
    return of_tier[static_cast<size_t>(kind)][place(depth_log2)];
  }
};

/// Completions, from which tolls follow.
class TollMeter {
 public:
  /// `latency_log2`: of us.
  void add(Tier tier, IoKind kind, float depth_log2, float latency_log2);
  /// What was seen of a tier and kind counts half from now on, if it got kFadeAfter since. Eight
  /// times, and what is not seen again is forgotten.
  void fade();
  /// 0 where too little is known: fewer than kLeast completions with so many under way, or with no
  /// other number.
  CongestionTolls tolls() const;

  static constexpr uint32_t kLeast = 32;
  static constexpr uint32_t kFadeAfter = 1024;

 private:
  // Moving averages: what is known of a depth stays known while there are other numbers under way.
  struct AtDepth {
    uint32_t count = 0;
    float depth_log2 = 0;
    float latency_log2 = 0;
  };
  struct Curve {
    std::array<AtDepth, CongestionTolls::kDepths> at{};
    uint32_t added = 0;  // since it faded
  };
  static void charge(const Curve& curve, std::array<float, CongestionTolls::kDepths>& toll_us);

  std::array<std::array<Curve, kIoKinds>, kTiers> curves_{};
};

}  // namespace latte
