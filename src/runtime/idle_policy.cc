#include "runtime/idle_policy.h"

namespace latte {

bool IdlePolicy::wanted(TimeNs now_ns) const {
  if (polling_ != Polling::adaptive) return polling_ == Polling::always;
  return short_share_ > kAll / 2 && now_ns >= rest_until_ns_;
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

void IdlePolicy::end_pause(TimeNs now_ns) {
  const int32_t sample = now_ns - pause_ns_ < kPollNs ? kAll : 0;
  short_share_ += (sample - short_share_) / kMemory;
  polls_ = wanted(now_ns);
}

}  // namespace latte
