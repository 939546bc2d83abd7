#include "model/stack_model.h"

#include <algorithm>

#include "model/server.h"

namespace latte::model {
namespace {

/// When a cap of `per_second` lets through `amount` that arrives at `now_ns`: the first of a batch
/// passes at once, the next waits its turn.
TimeNs capped(TimeNs& free_ns, TimeNs now_ns, double amount, double per_second) {
  if (per_second <= 0) return now_ns;
  const auto cost_ns = static_cast<TimeNs>(amount / per_second * 1e9);
  return through(free_ns, now_ns, cost_ns) - cost_ns;
}

}  // namespace

// The caps are the paper's measured figures; what is not in it is said in
// docs/internals/device-models.md.

StackOptions stack_kernel_virtio() {
  StackOptions options;
  options.name = "kernel virtio";
  options.iops_per_disk = 95'400;
  options.submit_ns = 12 * kMicrosecond;
  options.complete_ns = 8 * kMicrosecond;
  options.interrupt_ns = 8 * kMicrosecond;
  return options;
}

StackOptions stack_espresso() {
  StackOptions options;
  options.name = "ESPRESSO";
  options.iops_per_disk = 576'000;
  options.rate_per_disk = 6.5e9;
  options.submit_ns = 2 * kMicrosecond;
  options.complete_ns = 1 * kMicrosecond;
  options.interrupt_ns = 8 * kMicrosecond;
  return options;
}

StackOptions stack_doppio() {
  StackOptions options;
  options.name = "DOPPIO";
  options.iops_per_disk = 661'000;
  options.rate_per_disk = 4.1e9;
  options.rate_total = 31.2e9;
  options.submit_ns = 3 * kMicrosecond;
  options.complete_ns = 3 * kMicrosecond;
  options.interrupt_ns = 1 * kMicrosecond;
  return options;
}

StackOptions stack_ristretto() {
  StackOptions options;
  options.name = "RISTRETTO";
  options.iops_per_disk = 949'000;
  options.iops_total = 7'385'000;
  options.rate_per_disk = 6.7e9;
  options.submit_ns = 1 * kMicrosecond;
  options.complete_ns = 500;
  options.interrupt_ns = 500;
  return options;
}

TimeNs StackShare::pass(const ModelIo& io) {
  const TimeNs turn_ns = capped(requests_free_ns_, io.time_ns, 1, options_.iops_total);
  return std::max(turn_ns,
                  capped(bytes_free_ns_, io.time_ns, io.length_bytes, options_.rate_total));
}

StackModel::StackModel(const StackOptions& options, DeviceModel& device, StackShare& share)
    : options_(options), device_(device), share_(share) {}

ModelIo StackModel::enter(const ModelIo& io) {
  TimeNs start_ns = share_.pass(io);
  start_ns = std::max(start_ns, capped(requests_free_ns_, io.time_ns, 1, options_.iops_per_disk));
  start_ns = std::max(start_ns,
                      capped(bytes_free_ns_, io.time_ns, io.length_bytes, options_.rate_per_disk));
  ModelIo inner = io;
  inner.time_ns = std::max(last_ns_, start_ns + options_.submit_ns);
  return inner;
}

TimeNs StackModel::leave(const ModelIo& io, TimeNs device_end_ns) const {
  const TimeNs transfer =
      options_.rate_per_disk > 0 ? transfer_ns(io.length_bytes, options_.rate_per_disk) : 0;
  return std::max(device_end_ns, io.time_ns + transfer) + options_.complete_ns +
         options_.interrupt_ns;
}

TimeNs StackModel::submit(const ModelIo& io) {
  const ModelIo inner = enter(io);
  last_ns_ = inner.time_ns;
  return leave(io, device_.submit(inner));
}

TimeNs StackModel::peek(const ModelIo& io) {
  const StackShare share = share_;
  const TimeNs requests_free_ns = requests_free_ns_;
  const TimeNs bytes_free_ns = bytes_free_ns_;
  const TimeNs end_ns = leave(io, device_.peek(enter(io)));
  share_ = share;
  requests_free_ns_ = requests_free_ns;
  bytes_free_ns_ = bytes_free_ns;
  return end_ns;
}

}  // namespace latte::model
