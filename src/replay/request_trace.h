// RequestTrace: a block trace as requests, each with its time, and what they would ask of a cloud
// volume by themselves.
//
// Limits: 32 bytes a request; different blocks as in BlockTrace.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "replay/block_trace.h"
#include "trace/trace_record.h"

namespace latte::replay {

/// What was asked of the cloud in one second, as clouds count it (CloudLimits).
struct CloudSecond {
  uint64_t operations = 0;
  uint64_t bytes = 0;
};

/// The requests of a trace, in order, with sectors rounded outwards.
struct RequestTrace {
  std::string name;
  std::vector<trace::TraceRecord> records;
  uint64_t size_bytes = 0;       ///< of a disk that holds them all
  uint64_t footprint_bytes = 0;  ///< different blocks it reads or writes
};

/// What the requests themselves would ask of a cloud volume, at `speed` times their pace.
std::vector<CloudSecond> direct_demand(const RequestTrace& trace, double speed);

/// Errors: those of TraceReader; invalid if there is nothing to replay, or a request is longer or
/// further out than a disk of the engine can be.
Result<RequestTrace> load_request_trace(const std::string& path, const trace::TraceOptions& options,
                                        const OnProgress& on_progress);

}  // namespace latte::replay
