// RequestFeeder: sends a trace's requests to a device in virtual time and notes how they fared.
//
// Requests start at the trace's times (divided by `speed`); while kMaxUnderWay are under way, later
// ones are held back, and counted as late.
// Thread rule: the reactor's.
#pragma once

#include <cstdint>
#include <vector>

#include "base/histogram.h"
#include "replay/block_trace.h"
#include "replay/request_trace.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

namespace latte::replay {

/// Requests that may be under way at a time: eight queues of 32.
inline constexpr size_t kMaxUnderWay = 256;
/// Parts into which a run's time is cut for latency over time.
inline constexpr size_t kTimeSlices = 60;

/// Latencies of the requests that ended in one slice of time.
struct TimeSlice {
  TimeNs begin_ns = 0;
  Histogram latency;
};

/// How a trace's requests fared.
struct FeedResult {
  uint64_t requests = 0;
  uint64_t late = 0;    ///< held back by kMaxUnderWay
  uint64_t failed = 0;  ///< ended with an error
  uint64_t blocks = 0;  ///< read and written
  TimeNs virtual_ns = 0;
  std::vector<TimeSlice> slices;
  Histogram read_latency;
  Histogram write_latency;  ///< without discards and flushes
};

class RequestFeeder {
 public:
  /// All arguments outlive the feeder. `speed` is above 0, the trace not empty.
  RequestFeeder(Reactor& reactor, const RequestTrace& trace, double speed,
                const OnProgress& on_progress);

  /// Feeds `device`, whose size holds the trace, until the last request has ended. Once.
  Task<void> run(BlockDevice& device);
  size_t under_way() const { return under_way_; }
  FeedResult& result() { return result_; }

 private:
  static constexpr uint64_t kRequestsPerReport = 4096;

  Task<void> request(BlockDevice& device, const trace::TraceRecord& record);

  Reactor& reactor_;
  const RequestTrace& trace_;
  const double speed_;
  const OnProgress& on_progress_;
  WaitQueue room_;
  size_t under_way_ = 0;
  TimeNs start_ns_ = 0;
  TimeNs slice_ns_ = 1;
  FeedResult result_;
};

}  // namespace latte::replay
