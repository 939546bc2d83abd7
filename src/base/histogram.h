// Log-linear latency histogram: 32 buckets per power of two, so a percentile is off by at most 3.2
// %.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/units.h"

namespace latte {

/// Counts of durations from 0 to about 73 minutes; longer ones land in the last bucket. 9.5 KiB.
class Histogram {
 public:
  void record(TimeNs duration_ns) {
    ++counts_[index_of(duration_ns < 0 ? 0 : static_cast<uint64_t>(duration_ns))];
    ++total_;
    sum_ns_ += static_cast<uint64_t>(duration_ns < 0 ? 0 : duration_ns);
  }
  void add(const Histogram& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
    sum_ns_ += other.sum_ns_;
  }
  uint64_t count() const { return total_; }
  /// Sum of all durations in ns.
  uint64_t sum_ns() const { return sum_ns_; }
  /// Upper edge in ns of the bucket that holds the given quantile (0..1); 0 if empty.
  uint64_t quantile_ns(double quantile) const {
    if (total_ == 0) return 0;
    auto rank = static_cast<uint64_t>(quantile * static_cast<double>(total_));
    if (rank >= total_) rank = total_ - 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > rank) return upper_edge(i);
    }
    return upper_edge(counts_.size() - 1);
  }

 private:
  static constexpr unsigned kSubBits = 5;
  static constexpr unsigned kMaxBits = 42;
  static constexpr size_t kBuckets = (kMaxBits - kSubBits + 1) << kSubBits;

  static size_t index_of(uint64_t ns) {
    if (ns < (1u << kSubBits)) return ns;
    const auto bits = static_cast<unsigned>(std::bit_width(ns));
    if (bits > kMaxBits) return kBuckets - 1;
    const unsigned shift = bits - kSubBits - 1;
    return ((bits - kSubBits) << kSubBits) + ((ns >> shift) & ((1u << kSubBits) - 1));
  }
  static uint64_t upper_edge(size_t index) {
    const uint64_t group = index >> kSubBits;
    const uint64_t sub = index & ((1u << kSubBits) - 1);
    if (group == 0) return sub;
    return (((1ull << kSubBits) + sub + 1) << (group - 1)) - 1;
  }

  std::array<uint64_t, kBuckets> counts_{};
  uint64_t total_ = 0;
  uint64_t sum_ns_ = 0;
};

}  // namespace latte
