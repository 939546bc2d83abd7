#include "runtime/idle_policy.h"

#include <algorithm>

namespace latte {

bool IdlePolicy::wanted(TimeNs now_ns) const {
  if (polling_ != Polling::adaptive) return polling_ == Polling::always;
  return mean_pause_ns_ * kScale < kGapNs * mean_events_ && now_ns >= rest_until_ns_;
}

void IdlePolicy::begin_pause(TimeNs now_ns) {
  pause_ns_ = looked_ns_ = now_ns;
  polls_ = wanted(now_ns);
}

bool IdlePolicy::poll_on(TimeNs now_ns) {
  if (!polls_ || polling_ == Polling::always) return polls_;
  const TimeNs gap_ns = now_ns - looked_ns_;
  const bool lost_core = gap_ns > kLostCoreNs;
  if (lost_core) rest_until_ns_ = now_ns + kRestFactor * gap_ns;
  looked_ns_ = now_ns;
  polls_ = !lost_core && now_ns - pause_ns_ < kPollNs;
  return polls_;
}

void IdlePolicy::end_pause(TimeNs now_ns, size_t events) {
  // What came after the longest time to poll for was no reason to poll.
  const TimeNs pause_ns = std::min(now_ns - pause_ns_, kPollNs);
  const auto counted = static_cast<int64_t>(pause_ns < kPollNs ? std::min(events, kMaxEvents) : 0);
  mean_pause_ns_ += (pause_ns - mean_pause_ns_) / kMemory;
  mean_events_ += (counted * kScale - mean_events_) / kMemory;
  polls_ = wanted(now_ns);
}

}  // namespace latte
