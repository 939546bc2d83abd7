// When is the model out of date? Two tests over a stream of latencies (as logarithms).
//
// DriftTest compares windows of completions with the first one since it last fired: the mean has
// moved by half a standard deviation, or the spread by a factor of 1.5, in two windows running. The
// paper's rule, TenPercentRule, compares windows of time, and fires when throughput or the variance
// of the latency moves by 10 %; production disks do that every other minute.
//
// Thread rule: one reactor.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/units.h"

namespace latte {

/// Count, mean and variance of a stream. Of the distances to its first value, so that little is
/// lost where the mean is large, and without a division a value.
class Moments {
 public:
  void add(double value) {
    if (count_ == 0) first_ = value;
    ++count_;
    const double off = value - first_;
    sum_ += off;
    squares_ += off * off;
  }
  uint64_t count() const { return count_; }
  double mean() const { return count_ == 0 ? 0 : first_ + sum_ / static_cast<double>(count_); }
  double variance() const {
    if (count_ < 2) return 0;
    const auto count = static_cast<double>(count_);
    return std::max(0.0, (squares_ - sum_ * sum_ / count) / (count - 1));
  }

 private:
  uint64_t count_ = 0;
  double first_ = 0;
  double sum_ = 0;
  double squares_ = 0;
};

class DriftTest {
 public:
  static constexpr uint64_t kWindow = 2048;

  /// One completion. True if the stream has drifted; it then begins anew.
  bool add(float latency_log2);
  /// The next window is what later ones are compared with.
  void restart() { *this = {}; }

 private:
  bool differs() const;
  Moments reference_;
  Moments window_;
  uint32_t different_ = 0;
};

class TenPercentRule {
 public:
  explicit TenPercentRule(TimeNs window_ns = 60 * kSecond) : window_ns_(window_ns) {}
  /// One completion. True at the end of a window that differs from the one before.
  bool add(TimeNs now_ns, float latency_us);

 private:
  TimeNs window_ns_;
  TimeNs end_ns_ = 0;
  Moments window_;
  double last_variance_ = 0;
  uint64_t last_count_ = 0;
};

}  // namespace latte
