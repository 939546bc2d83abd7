// Regimes: loads and tiers under which dispatchers are compared. Each is a set of parameters with a
// meaning (docs/internals/dispatcher.md); a seed gives one instance of it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "model/cloud_model.h"
#include "model/nvme_model.h"

namespace latte::study {

struct Regime {
  const char* name = "";
  model::NvmeOptions local{};
  model::CloudOptions cloud{};
  uint32_t requests = 120'000;
  uint32_t depth = 256;  ///< I/Os of the disk under way at most; the load then pauses
  double iops = 40'000;  ///< rate of arrivals
  double read_share = 0.4;
  double burst_iops = 0;       ///< rate in bursts; 0 = none
  uint32_t foreign_depth = 0;  ///< of another tenant's 64 KiB writes on the drive, in spells
  TimeNs burst_ns = 0;         ///< mean length of a burst or spell, and of the time between; 0 and
  TimeNs calm_ns = 0;          ///< a foreign_depth: all the time
  double swing = 0;            ///< the rate goes up and down by this share, ...
  TimeNs swing_ns = 0;         ///< ... once in this time
};

std::vector<Regime> dispatch_regimes();

/// On and off by turns, off first; off for ever if the regime has no bursts, on if they don't end.
class Spells {
 public:
  Spells(const Regime& regime, uint64_t seed);
  /// `now_ns` never decreases.
  bool on(TimeNs now_ns);

 private:
  TimeNs burst_ns_;
  TimeNs calm_ns_;
  Random random_;
  TimeNs end_ns_ = 0;
  bool on_ = true;
};

/// The disk's own requests, one by one.
class Arrivals {
 public:
  Arrivals(const Regime& regime, uint64_t seed);
  /// The next request, some time after `now_ns`, when the one before it was let in.
  model::ModelIo next(TimeNs now_ns);

 private:
  Regime regime_;
  Random random_;
  Spells spells_;
  uint64_t next_offset_ = 0;
};

/// Another tenant of the drive: keeps foreign_depth writes under way during spells.
class Foreigner {
 public:
  Foreigner(const Regime& regime, uint64_t seed);
  /// Submits what it would have submitted up to `now_ns`.
  void run_until(TimeNs now_ns, model::DeviceModel& drive);

 private:
  static constexpr uint32_t kBytes = 64u << 10;
  Random random_;
  Spells spells_;
  TimeNs last_ns_ = 0;
  std::vector<TimeNs> ends_;  // a heap, the earliest first
};

}  // namespace latte::study
