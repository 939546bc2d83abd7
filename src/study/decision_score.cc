#include "study/decision_score.h"

#include <algorithm>
#include <cmath>

namespace latte::study {
namespace {

double share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

bool Truth::clear() const {
  const TimeNs low = std::min(local_ns, cloud_ns);
  const TimeNs high = std::max(local_ns, cloud_ns);
  return static_cast<double>(high) > 1.25 * static_cast<double>(low);
}

void DecisionScore::add(const Truth& truth, Tier said) {
  const bool right = said == truth.faster();
  const size_t tier = DispatchState::index(truth.faster());
  ++(right ? right_ : wrong_)[tier];
  if (!truth.clear()) return;
  ++clear_;
  clear_right_ += right;
}

void DecisionScore::add(const DecisionScore& other) {
  for (size_t tier = 0; tier < kTiers; ++tier) {
    right_[tier] += other.right_[tier];
    wrong_[tier] += other.wrong_[tier];
  }
  clear_ += other.clear_;
  clear_right_ += other.clear_right_;
}

double DecisionScore::accuracy() const { return share(right_[0] + right_[1], count()); }

double DecisionScore::majority() const {
  return share(std::max(right_[0] + wrong_[0], right_[1] + wrong_[1]), count());
}

double DecisionScore::balanced_accuracy() const {
  const uint64_t of[] = {right_[0] + wrong_[0], right_[1] + wrong_[1]};
  if (of[0] == 0 || of[1] == 0) return accuracy();
  return (share(right_[0], of[0]) + share(right_[1], of[1])) / 2;
}

double DecisionScore::correlation() const {
  const auto tp = static_cast<double>(right_[1]);
  const auto tn = static_cast<double>(right_[0]);
  const auto fn = static_cast<double>(wrong_[1]);
  const auto fp = static_cast<double>(wrong_[0]);
  const double below = std::sqrt((tp + fp) * (tp + fn)) * std::sqrt((tn + fp) * (tn + fn));
  return below == 0 ? 0 : (tp * tn - fp * fn) / below;
}

double DecisionScore::clear_accuracy() const { return share(clear_right_, clear_); }
double DecisionScore::clear_share() const { return share(clear_, count()); }
double DecisionScore::false_local() const { return share(wrong_[1], count()); }
double DecisionScore::false_cloud() const { return share(wrong_[0], count()); }

double LatencySum::mean_us() const {
  double sum = 0;
  for (const TimeNs latency_ns : all_) sum += static_cast<double>(latency_ns) / 1e3;
  return all_.empty() ? 0 : sum / static_cast<double>(all_.size());
}

double LatencySum::quantile_us(double quantile) const {
  if (all_.empty()) return 0;
  std::vector<TimeNs> copy = all_;
  const auto rank =
      std::min(copy.size() - 1, static_cast<size_t>(quantile * static_cast<double>(copy.size())));
  std::nth_element(copy.begin(), copy.begin() + static_cast<std::ptrdiff_t>(rank), copy.end());
  return static_cast<double>(copy[rank]) / 1e3;
}

double gain_captured(double best_single, double ours, double oracle) {
  const double possible = best_single - oracle;
  return possible <= 0 ? 0 : (best_single - ours) / possible;
}

}  // namespace latte::study
