// ThrottledDevice: a filter that passes reads, writes, discards and zeroes through a Throttle;
// flushes pass freely. Caps what a cloud is charged with, or plays a slow one.
//
// Thread rule: one reactor. `below` outlives this.
#pragma once

#include <memory>

#include "device/throttle.h"
#include "runtime/block_device.h"

namespace latte {

class ThrottledDevice final : public BlockDevice, private ThrottleExit {
 public:
  ThrottledDevice(Reactor& reactor, BlockDevice& below, std::shared_ptr<Throttle> throttle)
      : reactor_(reactor), below_(below), throttle_(std::move(throttle)) {}

  const DeviceInfo& info() const override { return below_.info(); }
  bool submit(IoRequest& request) override {
    if (request.op != IoOp::flush && !throttle_->admit(request, *this)) return true;
    return below_.submit(request);
  }
  void cancel_all() override { below_.cancel_all(); }
  size_t extents(uint64_t offset, uint64_t length, std::span<Extent> out) override {
    return below_.extents(offset, length, out);
  }

 private:
  void pass(IoRequest& request) override {
    // It was reported as under way, so the waiter is scheduled even if it completes at once.
    if (!below_.submit(request)) reactor_.schedule(request.waiter);
  }

  Reactor& reactor_;
  BlockDevice& below_;
  std::shared_ptr<Throttle> throttle_;
};

}  // namespace latte
