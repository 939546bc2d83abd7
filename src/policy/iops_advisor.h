// IopsAdvisor: how many operations a second a cloud volume should have in the next period, from
// what was asked of it in this one: the paper's "Auto".
//
// The rule: what all but one of a hundred seconds asked for, and a fifth more. If the present limit
// was reached in more seconds than that, what would have been asked for is not known, and it rises
// by half at least. It falls only by a tenth or more: clouds allow few changes a day.
//
// Pure: numbers in, a number out. Thread rule: one thread.
#pragma once

#include <cstdint>

#include "base/histogram.h"
#include "base/units.h"

namespace latte {

struct AdvisorLimits {
  uint64_t min_iops = 0;
  uint64_t max_iops = 0;
  uint64_t step_iops = 100;  ///< advice is a multiple of it, or one of the bounds
};

class IopsAdvisor {
 public:
  explicit IopsAdvisor(AdvisorLimits limits);

  /// `operations` were asked for during `span_ns`, and something waited for `limited_ns` of it.
  void observe(uint64_t operations, TimeNs limited_ns, TimeNs span_ns);
  /// Ends the period: what to have in the next one, if `current_iops` were there in this. Without
  /// anything observed: `current_iops`, within the bounds.
  uint64_t advise(uint64_t current_iops);
  /// What the period has asked for so far, in all but one of a hundred of its observations.
  uint64_t busy_iops() const;

 private:
  uint64_t within_bounds(double iops) const;

  const AdvisorLimits limits_;
  Histogram per_second_;
  uint64_t limited_ = 0;  // observations in which the limit was reached
};

}  // namespace latte
