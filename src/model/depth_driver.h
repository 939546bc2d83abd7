// Keeps a number of requests under way on a model, as fio does, and says what came of it.
#pragma once

#include "base/histogram.h"
#include "model/device_model.h"

namespace latte::model {

struct DepthLoad {
  uint32_t depth = 1;
  uint32_t length_bytes = 4096;
  double read_share = 1;  ///< of the requests
  bool sequential = false;
  uint64_t span_bytes = uint64_t{1} << 40;  ///< random offsets lie below
  uint64_t requests = 100'000;
  uint64_t warm_up = 0;  ///< requests before those counted
  uint64_t seed = 1;
};

struct DepthResult {
  Histogram reads{};
  Histogram writes{};
  double seconds = 0;  ///< of virtual time, from the first counted submission on
  double iops = 0;
  double bytes_per_second = 0;
  TimeNs end_ns = 0;  ///< last completion: where a next run may start
};

/// Runs `load` against `device`, beginning at `start_ns`.
DepthResult drive_at_depth(TimedDevice& device, const DepthLoad& load, TimeNs start_ns = 0);

}  // namespace latte::model
