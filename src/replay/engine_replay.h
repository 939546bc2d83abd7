// Engine replay: a trace's requests through the real engine - Host, HybridDisk, pool and cloud log
// - in virtual time, on the simulated drive and cloud with the models of model/.
//
// Requests start at the trace's times (divided by `speed`); while kMaxUnderWay are under way, later
// ones are held back, and counted as late. The disk begins empty: what a trace reads without
// having written it comes from the cloud's base.
// Deterministic: trace, options and seed give the same run to the last event.
// Limits: memory for what is written (drive and cloud keep their contents), 32 bytes a request.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "base/result.h"
#include "disk/stats.h"
#include "model/cloud_model.h"
#include "model/nvme_options.h"
#include "policy/admission.h"
#include "policy/tier_chooser.h"
#include "replay/block_trace.h"
#include "trace/trace_record.h"

namespace latte::replay {

/// Requests that may be under way at a time: eight queues of 32.
inline constexpr size_t kMaxUnderWay = 256;
/// Parts into which a run's time is cut for latency over time.
inline constexpr size_t kTimeSlices = 60;

struct EngineReplayOptions {
  uint64_t pool_bytes = 0;
  uint64_t seed = 1;
  double speed = 1;  ///< how many times faster than the trace requests arrive; above 0
  model::NvmeOptions drive = model::nvme_gen4();
  model::CloudOptions cloud = model::cloud_ebs();
  policy::AdmissionOptions admission;
  DispatchMode dispatch = DispatchMode::local;  ///< of reads that both tiers could answer
};

/// What was asked of the cloud in one second, as clouds count it (CloudLimits).
struct CloudSecond {
  uint64_t operations = 0;
  uint64_t bytes = 0;
};

/// Latencies of the requests that ended in one slice of time.
struct TimeSlice {
  TimeNs begin_ns = 0;
  Histogram latency;
};

struct EngineRun {
  uint64_t pool_bytes = 0;
  policy::AdmissionMode admission = policy::AdmissionMode::none;
  DispatchMode dispatch = DispatchMode::local;
  uint64_t requests = 0;
  uint64_t late = 0;    ///< held back by kMaxUnderWay
  uint64_t failed = 0;  ///< ended with an error
  TimeNs virtual_ns = 0;
  double seconds = 0;  ///< of this machine
  uint64_t blocks = 0;
  uint64_t hash = 0;  ///< of every event: equal for equal runs
  HostStats stats;
  std::vector<TimeSlice> slices;
  uint64_t cloud_bytes = 0;               ///< base and cloud log
  std::vector<CloudSecond> cloud_demand;  ///< of whole seconds until the last request ended
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

/// Errors: invalid (a pool too small for the engine), and what the engine refuses.
Result<EngineRun> replay_engine(const RequestTrace& trace, const EngineReplayOptions& options,
                                const OnProgress& on_progress);

}  // namespace latte::replay
