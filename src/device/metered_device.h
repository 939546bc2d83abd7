// MeteredDevice: a filter that passes requests through a CloudMeter; flushes pass freely. It lies
// above what tries failed requests again, so that a wait for a turn is no silence of the cloud's.
//
// Thread rule: one reactor. `below` outlives this.
#pragma once

#include <memory>
#include <utility>

#include "device/cloud_meter.h"
#include "runtime/block_device.h"

namespace latte {

class MeteredDevice final : public BlockDevice, private CloudExit {
 public:
  /// `writes`: whom writes are for; reads are clients' unless they say IoRequest::background.
  MeteredDevice(Reactor& reactor, BlockDevice& below, std::shared_ptr<CloudMeter> meter,
                CloudClass writes)
      : reactor_(reactor), below_(below), meter_(std::move(meter)), writes_(writes) {}

  const DeviceInfo& info() const override { return below_.info(); }
  bool submit(IoRequest& request) override {
    if (!meter_->admit(request, class_of(request), *this)) return true;
    return below_.submit(request);
  }
  size_t extents(uint64_t offset, uint64_t length, std::span<Extent> out) override {
    return below_.extents(offset, length, out);
  }

 private:
  CloudClass class_of(const IoRequest& request) const {
    if (request.op != IoOp::read) return writes_;
    return request.background ? CloudClass::background : CloudClass::foreground;
  }
  void pass(IoRequest& request) override {
    // It was reported as under way, so the waiter is scheduled even if it completes at once.
    if (!below_.submit(request)) reactor_.schedule(request.waiter);
  }

  Reactor& reactor_;
  BlockDevice& below_;
  std::shared_ptr<CloudMeter> meter_;
  const CloudClass writes_;
};

}  // namespace latte
