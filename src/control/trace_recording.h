// TraceRecording: the requests of a disk that is served, from the rings of all reactors that it is
// served on, in one order, as lines of a trace.
//
// Thread rule: one thread at a time, no reactor's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device/io_trace_ring.h"
#include "trace/csv_writer.h"

namespace latte {

class TraceRecording {
 public:
  using Rings = std::vector<std::shared_ptr<IoTraceRing>>;

  /// `start_ns`: Reactor::now() when it began, the trace's 0. `end` takes the rings away from the
  /// devices; it is called when this is destroyed.
  TraceRecording(Rings rings, TimeNs start_ns, std::function<void()> end);
  ~TraceRecording();
  TraceRecording(const TraceRecording&) = delete;
  TraceRecording& operator=(const TraceRecording&) = delete;

  /// Appends what came since the last call, a line each. Requests of different reactors that came
  /// within one call of each other are put in the order of their times.
  void take(std::string& lines);
  /// Lines given out.
  uint64_t recorded() const { return recorded_; }
  /// Requests that are missing: they came faster than they were taken.
  uint64_t lost() const;

 private:
  Rings rings_;
  const TimeNs start_ns_;
  std::function<void()> end_;
  trace::CsvWriter writer_;
  std::vector<TracedIo> batch_;
  uint64_t recorded_ = 0;
};

}  // namespace latte
