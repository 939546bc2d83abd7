// RetryingDevice: a filter that turns a cloud's errors into waiting. Writes, discards and flushes
// are tried again until they succeed, the writer is fenced, or stop(); reads until a time limit. It
// also counts the traffic and knows since when the cloud has not answered.
//
// Thread rule: one reactor. Limits: back-off from 10 ms doubling to 1 s.
#pragma once

#include <cstdint>
#include <string>

#include "device/traffic.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"
#include "runtime/task.h"

namespace latte {

class RetryingDevice final : public BlockDevice {
 public:
  static constexpr TimeNs kStopWaitNs = 5 * kSecond;

  /// `read_limit_ns`: how long a read is tried before its error is passed on.
  RetryingDevice(Reactor& reactor, BlockDevice& below, DeviceTraffic& traffic,
                 TimeNs read_limit_ns);

  const DeviceInfo& info() const override { return below_.info(); }
  bool submit(IoRequest& request) override;
  size_t extents(uint64_t offset, uint64_t length, std::span<Extent> out) override {
    return below_.extents(offset, length, out);
  }

  /// From now on what would change the device waits for let_writes(). Returns when nothing of the
  /// kind is under way any more, or false at `deadline_ns`; either way let_writes() has to follow.
  Task<bool> hold_writes(TimeNs deadline_ns);
  void let_writes();

  /// From now on failed requests are not tried again; they end in IoStatus::stopped.
  void stop();
  /// After stop(): waits for what is under way, at most kStopWaitNs; then ends it.
  Task<void> end_waiting();
  /// Nanoseconds that the oldest request under way has been waiting; 0 if none.
  TimeNs oldest_wait_ns() const;
  /// The last error if the latest attempt failed, else ok.
  IoStatus last_error() const { return last_error_; }

 private:
  struct Waiting : ListNode {
    TimeNs since_ns = 0;
    bool writes = false;  // and has begun to
  };
  bool writing() const;
  Task<void> run(IoRequest& request);

  Reactor& reactor_;
  BlockDevice& below_;
  DeviceTraffic& traffic_;
  TimeNs read_limit_ns_;
  bool stopping_ = false;
  bool held_ = false;
  WaitQueue let_go_;
  IoStatus last_error_ = IoStatus::ok;
  mutable IntrusiveList<Waiting> waiting_;  // oldest first
};

}  // namespace latte
