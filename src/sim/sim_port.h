// SimPort: a simulated device's requests under way: when each completes, when it takes effect, and
// what becomes of it when the process that submitted it dies. Base of SimDrive and of the cloud's
// devices.
//
// Invariants:
//  1. A request takes effect once, either when it is submitted or when it completes; which of the
//     two is drawn, so requests under way together take effect in any order.
//  2. After drop_requests() no request of the former process is touched.
// Thread rule: one world.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "model/device_model.h"
#include "runtime/block_device.h"
#include "sim/sim_world.h"

namespace latte::sim {

/// How long requests take. Times in ns; rates of 0 mean unlimited.
struct LatencyModel {
  TimeNs base_ns = 80 * kMicrosecond;
  TimeNs tail_ns = 20 * kMicrosecond;  ///< mean of the exponential part
  TimeNs flush_ns = 100 * kMicrosecond;
  double bytes_per_second = 0;
  double requests_per_second = 0;
};

/// The shared part of a path to a device: serves requests in turn at its rates.
class Pipe {
 public:
  /// When a request of `bytes` that arrives at `now` completes.
  TimeNs pass(const LatencyModel& model, TimeNs now, uint64_t bytes, bool is_flush, Random& random);

 private:
  TimeNs busy_until_ = 0;
};

/// When `timing` lets `request` complete that is submitted at `now`. Discards and zeroes count as
/// flushes do: no data moves.
TimeNs modelled_end(model::DeviceModel& timing, const IoRequest& request, TimeNs now);

/// What a write brings; nothing for what zeroes.
inline std::span<const iovec> data_of(const IoRequest& request) {
  return {request.iov, request.op == IoOp::write ? request.iov_count : 0};
}

class SimPort : public BlockDevice, protected EventTarget {
 public:
  SimPort(World& world, DeviceInfo info) : world_(world), info_(std::move(info)) {}
  ~SimPort() override { world_.forget(*this); }

  const DeviceInfo& info() const final { return info_; }
  bool submit(IoRequest& request) final;
  /// From now on completions go to `reactor`. No request may be under way.
  void connect(SimReactor& reactor);
  bool connected() const { return reactor_ != nullptr; }
  size_t under_way() const { return under_way_; }

 protected:
  struct Plan {
    TimeNs complete_at = 0;  ///< kNever: never
    bool early = false;      ///< takes effect when submitted
  };
  virtual Plan plan(const IoRequest& request) = 0;
  /// Lets the request take effect and says how it ended. `mark` is mark() of when it was submitted.
  virtual IoStatus execute(IoRequest& request, uint64_t mark) = 0;
  /// What execute() of a flush needs to know of the moment of submission.
  virtual uint64_t mark() const = 0;
  /// When to ask again instead of completing now (an outage), or 0 to complete.
  virtual TimeNs postponed_until() { return 0; }

  /// Forgets every request under way; calls `visit(request, complete_at)` for those that had not
  /// taken effect, in order of submission, while their memory is still there.
  template <typename Visit>
  void drop_requests(Visit&& visit);

  World& world_;
  DeviceInfo info_;

 private:
  struct Slot {
    IoRequest* request = nullptr;
    uint64_t token = 0;
    uint64_t mark = 0;
    TimeNs complete_at = 0;
    bool done = false;  // took effect; status is set
    IoStatus status = IoStatus::ok;
  };
  void on_event(uint64_t token) final;
  IoStatus validate(const IoRequest& request) const;

  SimReactor* reactor_ = nullptr;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  size_t under_way_ = 0;
  uint64_t next_token_ = 0;
};

template <typename Visit>
void SimPort::drop_requests(Visit&& visit) {
  std::vector<Slot> dropped;
  for (const Slot& slot : slots_)
    if (slot.request != nullptr && !slot.done) dropped.push_back(slot);
  std::sort(dropped.begin(), dropped.end(),
            [](const Slot& a, const Slot& b) { return a.token >> 32 < b.token >> 32; });
  slots_.clear();
  free_slots_.clear();
  under_way_ = 0;
  reactor_ = nullptr;
  world_.forget(*this);
  for (const Slot& slot : dropped) visit(*slot.request, slot.complete_at);
}

}  // namespace latte::sim
