// Engine replay: a trace's requests through the real engine - Host, HybridDisk, pool and cloud log
// - in virtual time, on the simulated drive and cloud with the models of model/.
//
// The disk begins empty: what a trace reads without having written it comes from the cloud's base.
// Deterministic: trace, options and seed give the same run to the last event.
// Limits: memory for what is written (drive and cloud keep their contents).
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "disk/stats.h"
#include "model/cloud_model.h"
#include "model/nvme_options.h"
#include "policy/admission.h"
#include "policy/tier_chooser.h"
#include "policy/write_policy.h"
#include "replay/request_feeder.h"
#include "replay/request_trace.h"

namespace latte::replay {

struct EngineReplayOptions {
  uint64_t pool_bytes = 0;
  uint64_t seed = 1;
  double speed = 1;  ///< how many times faster than the trace requests arrive; above 0
  model::NvmeOptions drive = model::nvme_gen4();
  model::CloudOptions cloud = model::cloud_ebs();
  policy::AdmissionOptions admission;
  DispatchMode dispatch = DispatchMode::local;  ///< of reads that both tiers could answer
};

struct EngineRun : FeedResult {
  uint64_t pool_bytes = 0;
  policy::AdmissionMode admission = policy::AdmissionMode::none;
  DispatchMode dispatch = DispatchMode::local;
  double seconds = 0;  ///< of this machine
  uint64_t hash = 0;   ///< of every event: equal for equal runs
  HostStats stats;
  uint64_t cloud_bytes = 0;               ///< base and cloud log
  std::vector<CloudSecond> cloud_demand;  ///< of whole seconds until the last request ended
};

/// A tier that has all of the disk, without Latte.
struct AloneRun : FeedResult {
  Tier tier = Tier::cloud;
};

/// Errors: invalid (a pool too small for the engine), and what the engine refuses.
Result<EngineRun> replay_engine(const RequestTrace& trace, const EngineReplayOptions& options,
                                const OnProgress& on_progress);

/// The same requests to the cloud's model by itself, or to the drive's, as large as the disk: what
/// Latte is to be measured by. Of `options` seed, speed and models count.
Result<AloneRun> replay_alone(const RequestTrace& trace, const EngineReplayOptions& options,
                              Tier tier, const OnProgress& on_progress);

}  // namespace latte::replay
