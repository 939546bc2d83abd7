// DecisionScore: how often a dispatcher named the faster tier, and what that was worth.
#pragma once

#include <cstdint>
#include <vector>

#include "policy/dispatch_state.h"

namespace latte::study {

/// What one I/O would have taken on each tier.
struct Truth {
  TimeNs local_ns = 0;
  TimeNs cloud_ns = 0;
  Tier faster() const { return cloud_ns < local_ns ? Tier::cloud : Tier::local; }
  TimeNs on(Tier tier) const { return tier == Tier::local ? local_ns : cloud_ns; }
  /// The slower takes over 25 % longer than the faster.
  bool clear() const;
};

class DecisionScore {
 public:
  void add(const Truth& truth, Tier said);
  void add(const DecisionScore& other);

  uint64_t count() const { return right_[0] + right_[1] + wrong_[0] + wrong_[1]; }
  double accuracy() const;
  /// Of saying always what is right more often.
  double majority() const;
  /// Mean of the shares found of I/Os faster local and faster in the cloud.
  double balanced_accuracy() const;
  /// Matthews' correlation; 0 where one class or one answer is missing.
  double correlation() const;
  /// Where the tiers differ by over 25 %.
  double clear_accuracy() const;
  double clear_share() const;
  /// Sent to the local tier though the cloud was faster, as a share of all; and the reverse.
  double false_local() const;
  double false_cloud() const;

 private:
  // By the faster tier.
  uint64_t right_[2] = {0, 0};
  uint64_t wrong_[2] = {0, 0};
  uint64_t clear_ = 0;
  uint64_t clear_right_ = 0;
};

/// Latencies of one run, for mean and percentiles that are exact.
class LatencySum {
 public:
  void add(TimeNs latency_ns) { all_.push_back(latency_ns); }
  void add(const LatencySum& other) {
    all_.insert(all_.end(), other.all_.begin(), other.all_.end());
  }
  double mean_us() const;
  double quantile_us(double quantile) const;
  size_t count() const { return all_.size(); }

 private:
  std::vector<TimeNs> all_;
};

/// (best single tier - ours) / (best single tier - oracle); 0 where the oracle gains nothing.
double gain_captured(double best_single, double ours, double oracle);

}  // namespace latte::study
