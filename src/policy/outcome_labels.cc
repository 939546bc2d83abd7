#include "policy/outcome_labels.h"

#include <algorithm>
#include <cmath>
#include <memory>

namespace latte {
namespace {

/// Keeps directions that the outcomes say nothing of at no weight.
constexpr double kRidge = 1e-2;
/// An eighth of a microsecond, and a quarter of an hour: what is estimated beyond is no latency.
constexpr double kLeastLog2 = -3;
constexpr double kMostLog2 = 30;

using Row = std::array<double, kSvmInputs>;
using Matrix = std::array<Row, kSvmInputs>;

/// Least squares of the latency on the inputs, over outcomes added one by one.
class Regression {
 public:
  void add(const DispatchOutcome& outcome) {
    ++count_;
    for (size_t i = 0; i < kSvmInputs; ++i) {
      for (size_t j = 0; j <= i; ++j)
        (*products_)[i][j] += double{outcome.inputs[i]} * outcome.inputs[j];
      right_[i] += double{outcome.inputs[i]} * outcome.latency_log2;
    }
  }
  size_t count() const { return count_; }

  /// Solves by Cholesky's decomposition, in place; call once.
  void solve() {
    Matrix& a = *products_;
    for (size_t i = 0; i < kSvmInputs; ++i) a[i][i] += kRidge * static_cast<double>(count_) + 1e-9;
    for (size_t i = 0; i < kSvmInputs; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        double sum = a[i][j];
        for (size_t k = 0; k < j; ++k) sum -= a[i][k] * a[j][k];
        a[i][j] = i == j ? std::sqrt(std::max(sum, 1e-12)) : sum / a[j][j];
      }
    }
    for (size_t i = 0; i < kSvmInputs; ++i) {
      for (size_t k = 0; k < i; ++k) right_[i] -= a[i][k] * right_[k];
      right_[i] /= a[i][i];
    }
    for (size_t i = kSvmInputs; i-- > 0;) {
      for (size_t k = i + 1; k < kSvmInputs; ++k) right_[i] -= a[k][i] * right_[k];
      right_[i] /= a[i][i];
    }
  }
  double estimate(const SvmInputs& inputs) const {
    double sum = 0;
    for (size_t i = 0; i < kSvmInputs; ++i) sum += right_[i] * inputs[i];
    return sum;
  }

 private:
  std::unique_ptr<Matrix> products_ = std::make_unique<Matrix>();
  Row right_{};
  size_t count_ = 0;
};

}  // namespace

std::vector<SvmSample> label_outcomes(std::span<const DispatchOutcome> outcomes) {
  Regression tiers[kTiers][kIoKinds];
  for (const DispatchOutcome& outcome : outcomes)
    tiers[static_cast<size_t>(outcome.tier)][static_cast<size_t>(outcome.kind)].add(outcome);
  for (auto& kinds : tiers)
    for (Regression& one : kinds) one.solve();
  std::vector<SvmSample> samples;
  for (const DispatchOutcome& outcome : outcomes) {
    const bool on_local = outcome.tier == Tier::local;
    const Regression& other = tiers[on_local ? 1 : 0][static_cast<size_t>(outcome.kind)];
    if (other.count() < kLeastOutcomes) continue;
    const auto us = std::exp2(outcome.latency_log2);
    const double estimate = std::clamp(other.estimate(outcome.inputs), kLeastLog2, kMostLog2);
    const auto other_us = static_cast<float>(std::exp2(estimate));
    SvmSample sample;
    sample.inputs = outcome.inputs;
    sample.kind = outcome.kind;
    sample.local_us = on_local ? us : other_us;
    sample.cloud_us = on_local ? other_us : us;
    samples.push_back(sample);
  }
  return samples;
}

}  // namespace latte
