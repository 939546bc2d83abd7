// RemoteDevice: a device that belongs to another reactor, as a device of this one. Requests and
// answers go over a ReactorLink each, gathered per turn: what passes between the cores is the
// request; its data stays where it is.
//
// Invariants:
//  1. A request is submitted to the device once, on its reactor, and answered once, on this one.
//  2. A flush covers what had completed here before it was submitted: the device had completed that
//     before it sees the flush.
// Thread rule: this reactor's, but for the device, which is only touched on its own. Destroyed on
// any thread when neither reactor runs, or nothing is under way. Limits: memory for a request's
// state grows to the most ever under way together and is then reused.
#pragma once

#include <memory>
#include <vector>

#include "runtime/block_device.h"
#include "runtime/reactor_link.h"
#include "runtime/repeater.h"
#include "runtime/slot_pool.h"

namespace latte {

class RemoteDevice final : public BlockDevice {
 public:
  /// `device` belongs to `there` and outlives this; to be called while it rests, or on `there`.
  RemoteDevice(UringReactor& here, UringReactor& there, BlockDevice& device);
  ~RemoteDevice() override;

  /// The device has another size; on this reactor.
  void set_size(uint64_t size_bytes) { info_.size_bytes = size_bytes; }
  /// As the device's was at the start, but for set_size().
  const DeviceInfo& info() const override { return info_; }
  bool submit(IoRequest& request) override;

 private:
  struct Slot : ReactorLink::Node {
    RemoteDevice* owner = nullptr;
    IoRequest below;
    IoRequest* request = nullptr;
    Repeater ended;
    Slot* next_free = nullptr;
  };

  static void begin(void* context, ReactorLink::Node& node);
  static void end(void* context, ReactorLink::Node& node);
  static Repeater send_back(Slot& slot);

  UringReactor& here_;
  BlockDevice& device_;
  DeviceInfo info_;
  ReactorLink to_device_;
  ReactorLink from_device_;
  SlotPool<Slot> slots_;
};

}  // namespace latte
