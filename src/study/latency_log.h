// Logs of a real drive, one line an I/O with the time it took:
// `t_us,lat_us,rw,size,off`, packed or not. Judged as prediction is in regimes:
// the drive served them all, as its log says; the cloud is a model; the first
// half trains, the second is reported.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/cloud_model.h"
#include "study/dispatch_run.h"

namespace latte::study {

struct LoggedIo {
  TimeNs time_ns = 0;
  TimeNs latency_ns = 0;
  IoKind kind = IoKind::read;
  uint32_t bytes = 0;
};

/// Reads the log at `path`, whose lines may be in order of completion, into
/// order of submission. Errors: not_found, io, damaged; invalid with the line
/// (no number, or beyond what a request may be).
Result<std::vector<LoggedIo>> read_latency_log(const std::string& path);

struct LogStudy {
  /// Of the second half, per kind.
  DispatchRun run;
  std::array<std::array<LatencySum, kDispatchRules.size()>, kIoKinds> rules;
  std::array<LatencySum, kIoKinds> oracle;
  SvmTraining training;
};

/// Trains on the first half and judges the second. `seed` is the cloud's.
LogStudy study_latency_log(const std::vector<LoggedIo>& log, const model::CloudOptions& cloud,
                           uint64_t seed);

}  // namespace latte::study
