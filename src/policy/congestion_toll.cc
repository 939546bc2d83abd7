#include "policy/congestion_toll.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace latte {
namespace {

constexpr float kMostElasticity = 1;
/// Completions that a moving average amounts to.
constexpr uint32_t kMostCount = 4096;

}  // namespace

void TollMeter::add(Tier tier, IoKind kind, float depth_log2, float latency_log2) {
  Curve& curve = curves_[DispatchState::index(tier)][static_cast<size_t>(kind)];
  ++curve.added;
  AtDepth& at = curve.at[CongestionTolls::place(depth_log2)];
  at.count = std::min(at.count + 1, kMostCount);
  const float part = 1 / static_cast<float>(at.count);
  at.depth_log2 += (depth_log2 - at.depth_log2) * part;
  at.latency_log2 += (latency_log2 - at.latency_log2) * part;
}

void TollMeter::fade() {
  for (auto& kinds : curves_)
    for (Curve& curve : kinds) {
      if (curve.added < kFadeAfter) continue;
      curve.added = 0;
      for (AtDepth& at : curve.at) at.count /= 2;
    }
}

CongestionTolls TollMeter::tolls() const {
  CongestionTolls tolls;
  for (size_t tier = 0; tier < kTiers; ++tier)
    for (size_t kind = 0; kind < kIoKinds; ++kind)
      charge(curves_[tier][kind], tolls.toll_us[tier][kind]);
  return tolls;
}

/// The slope at a depth is that between its neighbours of which enough is known; a depth of which
/// too little is known costs as the one below.
void TollMeter::charge(const Curve& curve, std::array<float, CongestionTolls::kDepths>& toll_us) {
  const auto known = [&](size_t place) { return curve.at[place].count >= kLeast; };
  std::optional<size_t> below;
  for (size_t place = 0; place < curve.at.size(); ++place) {
    if (!known(place)) {
      toll_us[place] = place == 0 ? 0 : toll_us[place - 1];
      continue;
    }
    size_t above = place + 1;
    while (above < curve.at.size() && !known(above)) ++above;
    const AtDepth& low = curve.at[below.value_or(place)];
    const AtDepth& high = curve.at[above < curve.at.size() ? above : place];
    const float apart = high.depth_log2 - low.depth_log2;
    const float slower = high.latency_log2 - low.latency_log2;
    const float elasticity = apart > 0 ? std::clamp(slower / apart, 0.0f, kMostElasticity) : 0;
    toll_us[place] = elasticity * std::exp2(curve.at[place].latency_log2);
    below = place;
  }
}

}  // namespace latte
