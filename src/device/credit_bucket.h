// CreditBucket: one limit of a cloud volume as a token bucket with two speeds. What is not used at
// the sold rate is saved, up to the credits that can be; while there are credits, the burst rate
// holds, and then the sold one.
//
// A bucket is kept as the times at which it will be out of debt, one for each speed: a request
// passes when it is out of both debts, and then adds its cost. So one larger than all that is saved
// passes too, and pays afterwards, and a late timer costs no rate. It begins full, as a new volume
// does; what a real one has left can't be known.
//
// Pure: time comes in. Thread rule: one thread.
#pragma once

#include "base/units.h"
#include "device/cloud_limits.h"

namespace latte {

class CreditBucket {
 public:
  CreditBucket(RateLimit limit, TimeNs now_ns);

  /// When the next request may pass; in the past if at once.
  TimeNs free_at() const;
  /// A request of `units` passes at `now_ns`.
  void charge(uint64_t units, TimeNs now_ns);
  /// Units saved up; negative: owed. 0 without a limit.
  double credits(TimeNs now_ns) const;
  /// How long `units` take from now on if nothing else comes; 0 without a limit.
  TimeNs time_for(uint64_t units, TimeNs now_ns) const;
  /// Another rate from now on; credits stay. 0: no limit any more.
  void set_rate(uint64_t per_second, TimeNs now_ns);
  const RateLimit& limit() const { return limit_; }

 private:
  /// The span that the sold rate takes for all that can be saved.
  double saved_ns() const;
  bool bursts() const { return limit_.burst_per_second > limit_.per_second; }

  RateLimit limit_;
  double free_at_ns_ = 0;        // at the sold rate
  double burst_free_at_ns_ = 0;  // at the burst rate
};

}  // namespace latte
