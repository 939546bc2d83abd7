// CloudMeter: counts what a disk asks of its cloud volume as clouds count it, and keeps it within
// what the cloud sells. Who waits for a turn waits by class: reads that clients wait for first, the
// rest behind them, but each class gets at least its share (kShares) of what the limits let
// through, so shipping and applying go on whatever clients read. Where a class is urgent (the lag
// grows, somebody waits for room), it gets the larger share itself.
//
// The shares are start-time fair queueing: each class has a tag, its own virtual time; the lowest
// one goes first and then moves on by cost over share. A class that was idle starts at the present
// virtual time and has saved nothing up.
//
// Invariants: 1. What passes is charged once, when it passes. 2. Within a class and device, first
// in, first out. 3. Without limits nothing ever waits.
// Thread rule: one reactor. Limits: the queues hold whatever their submitters have under way.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/intrusive_list.h"
#include "device/cloud_limits.h"
#include "device/credit_bucket.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"
#include "runtime/task.h"

namespace latte {

/// Whom a request to the cloud is for.
enum class CloudClass : uint8_t {
  foreground,  ///< a client waits for this block
  ship,        ///< to the cloud log: what the host's loss would cost
  background,  ///< applying, and whatever nobody waits for
};
inline constexpr size_t kCloudClasses = 3;

/// What went to a cloud volume, as clouds count it.
struct CloudUse {
  uint64_t requests = 0;
  uint64_t operations = 0;  ///< see CloudLimits::operation_bytes; flushes are free
  uint64_t bytes = 0;
  uint64_t waited_ns = 0;  ///< for a turn, summed up

  CloudUse& operator+=(const CloudUse& other);
};

struct CloudMeterStats {
  std::array<CloudUse, kCloudClasses> use;  ///< by CloudClass; what has passed
  uint64_t wanted_operations = 0;  ///< what was asked for, whether it has passed yet or not
  uint64_t waiting = 0;            ///< requests that wait for a turn now
  uint64_t limited_ns = 0;         ///< time during which something waited
  double operation_credits = 0;    ///< saved up; negative: owed
  double byte_credits = 0;         ///< likewise
  CloudLimits limits;              ///< as they are now

  CloudUse total() const;
};

/// Who knows what presses.
class CloudUrgency {
 public:
  /// Is it this class that the others should make room for?
  virtual bool urgent(CloudClass io_class) const = 0;

 protected:
  ~CloudUrgency() = default;
};

/// Where a request goes when its turn has come.
class CloudExit {
 public:
  virtual void pass(IoRequest& request) = 0;

 protected:
  ~CloudExit() = default;
};

class CloudMeter : public std::enable_shared_from_this<CloudMeter> {
 public:
  /// `urgency` outlives the last request that waits here.
  static std::shared_ptr<CloudMeter> create(Reactor& reactor, CloudLimits limits,
                                            const CloudUrgency& urgency);

  /// True if `request` may go at once (and is charged). Else it is queued and `exit.pass()` is
  /// called later; uses request.device_private and device_number until then.
  bool admit(IoRequest& request, CloudClass io_class, CloudExit& exit);
  /// Ends what waits with IoStatus::stopped; what comes from now on passes.
  void stop();

  /// How long the limits alone will take for so much. 0 without limits.
  TimeNs time_for(uint64_t operations, uint64_t bytes) const;
  /// What passed for no client that waits.
  CloudUse use_behind() const;
  /// Another limit on operations a second: the cloud sells more or fewer from now on.
  void set_iops(uint64_t per_second);
  CloudMeterStats stats() const;

 private:
  CloudMeter(Reactor& reactor, CloudLimits limits, const CloudUrgency& urgency);
  struct Cost {
    uint64_t operations = 0;
    uint64_t bytes = 0;
  };
  Cost cost_of(const IoRequest& request) const;
  TimeNs free_at() const;
  void charge(CloudClass io_class, const Cost& cost);
  double share_ns(const Cost& cost) const;
  bool any_waiting() const;
  size_t next_class() const;
  static Task<void> pump(std::shared_ptr<CloudMeter> self);

  struct Queue {
    IntrusiveList<IoRequest> waiting;
    double tag = 0;  // virtual time at which its next request starts
  };
  Reactor& reactor_;
  const CloudUrgency& urgency_;
  CloudLimits limits_;
  CreditBucket operations_;
  CreditBucket bytes_;
  std::array<Queue, kCloudClasses> queues_;
  double virtual_ns_ = 0;
  bool stopped_ = false;
  bool pumping_ = false;
  TimeNs limited_since_ns_ = 0;  // while something waits
  CloudMeterStats stats_;
};

}  // namespace latte
