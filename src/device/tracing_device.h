// TracingDevice: passes everything on, and while a ring is given notes each request in it.
//
// Thread rule: one reactor.
#pragma once

#include <memory>
#include <utility>

#include "device/io_trace_ring.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"

namespace latte {

class TracingDevice final : public BlockDevice {
 public:
  /// Both outlive it.
  TracingDevice(Reactor& reactor, BlockDevice& below) : reactor_(reactor), below_(below) {}

  const DeviceInfo& info() const override { return below_.info(); }
  bool submit(IoRequest& request) override {
    if (ring_) [[unlikely]]
      ring_->add(TracedIo{reactor_.now(), request.offset, request.length, request.op});
    return below_.submit(request);
  }
  void cancel_all() override { below_.cancel_all(); }
  size_t extents(uint64_t offset, uint64_t length, std::span<Extent> out) override {
    return below_.extents(offset, length, out);
  }

  /// From now on requests are noted in `ring`; null: no more.
  void trace_into(std::shared_ptr<IoTraceRing> ring) { ring_ = std::move(ring); }

 private:
  Reactor& reactor_;
  BlockDevice& below_;
  std::shared_ptr<IoTraceRing> ring_;
};

}  // namespace latte
