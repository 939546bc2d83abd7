// Throttle: caps on bandwidth and requests per second as two token buckets with one queue, first in
// first out. Several devices may share one.
//
// A bucket is kept as one number, the time at which it will be out of debt. A request passes when
// both buckets are out of debt and then adds its cost; an idle bucket saves up at most `burst_ns`.
// So a request larger than the burst passes too, and pays afterwards, and a late timer costs no
// rate.
//
// Thread rule: one reactor. Limits: the queue holds whatever its submitters have under way.
#pragma once

#include <cstdint>
#include <memory>

#include "base/intrusive_list.h"
#include "base/units.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"
#include "runtime/task.h"

namespace latte {

struct ThrottleLimits {
  uint64_t bytes_per_second = 0;        ///< of reads and writes together; 0 = no cap
  uint64_t requests_per_second = 0;     ///< all but flushes; 0 = no cap
  TimeNs burst_ns = 50 * kMillisecond;  ///< what an idle bucket saves up
  bool any() const { return bytes_per_second != 0 || requests_per_second != 0; }
};

/// Where a request goes when its turn has come.
class ThrottleExit {
 public:
  virtual void pass(IoRequest& request) = 0;

 protected:
  ~ThrottleExit() = default;
};

class Throttle : public std::enable_shared_from_this<Throttle> {
 public:
  static std::shared_ptr<Throttle> create(Reactor& reactor, ThrottleLimits limits);

  /// True if `request` may go at once (and is charged). Else it is queued and `exit.pass()` is
  /// called later; uses request.device_private until then.
  bool admit(IoRequest& request, ThrottleExit& exit);

 private:
  Throttle(Reactor& reactor, ThrottleLimits limits);
  TimeNs free_at() const;
  void charge(const IoRequest& request, TimeNs now_ns);
  static Task<void> pump(std::shared_ptr<Throttle> self);

  Reactor& reactor_;
  const ThrottleLimits limits_;
  double bytes_free_at_ns_ = 0;
  double requests_free_at_ns_ = 0;
  bool pumping_ = false;
  IntrusiveList<IoRequest> queue_;
};

}  // namespace latte
