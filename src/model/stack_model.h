// StackModel: what the software between a guest and a device costs: a cap on requests (a core or a
// card that handles them one by one), a cap on bandwidth, and time on the way in and out (system
// calls, polling, interrupts). The four generations of the paper are presets.
//
// Invariants: those of DeviceModel.
#pragma once

#include <string>
#include <vector>

#include "model/device_model.h"

namespace latte::model {

struct StackOptions {
  const char* name = "none";
  double iops_per_disk = 0;  ///< one disk's queue handling; 0 = no cap
  double iops_total = 0;     ///< all disks of the host (a card)
  double rate_per_disk = 0;  ///< bytes a second of data through the stack; 0 = no cap
  double rate_total = 0;
  TimeNs submit_ns = 0;     ///< guest to device
  TimeNs complete_ns = 0;   ///< device to guest, without the interrupt
  TimeNs interrupt_ns = 0;  ///< telling the guest
};

StackOptions stack_kernel_virtio();
StackOptions stack_espresso();
StackOptions stack_doppio();
StackOptions stack_ristretto();

/// What the disks of one host share.
class StackShare {
 public:
  explicit StackShare(const StackOptions& options) : options_(options) {}
  TimeNs pass(const ModelIo& io);

 private:
  friend class StackModel;
  StackOptions options_;
  TimeNs requests_free_ns_ = 0;
  TimeNs bytes_free_ns_ = 0;
};

class StackModel final : public DeviceModel {
 public:
  /// `device` and `share` outlive this; several disks may have one share.
  StackModel(const StackOptions& options, DeviceModel& device, StackShare& share);

  std::string_view name() const override { return options_.name; }
  TimeNs submit(const ModelIo& io) override;
  TimeNs peek(const ModelIo& io) override;

 private:
  ModelIo enter(const ModelIo& io);
  TimeNs leave(const ModelIo& io, TimeNs device_end_ns) const;

  StackOptions options_;
  DeviceModel& device_;
  StackShare& share_;
  TimeNs requests_free_ns_ = 0;
  TimeNs bytes_free_ns_ = 0;
  TimeNs last_ns_ = 0;
};

}  // namespace latte::model
