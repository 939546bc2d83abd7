// DeviceProbe: measures a real file or block device the way fio does, and fits the NVMe model to
// what it measured. Reads only, unless told to write: then everything in the file may be
// overwritten.
//
// Thread rule: one thread; it runs a reactor of its own. Limits: each point runs for
// ProbeOptions::point_seconds and at most kMostPointBytes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/nvme_options.h"

namespace latte::study {

inline constexpr uint64_t kMostPointBytes = uint64_t{4} << 30;

struct ProbeOptions {
  std::string path{};
  bool write = false;  ///< measure writes too: destroys what is in the file
  double point_seconds = 0.5;
  uint64_t seed = 1;
};

/// One load, and what a device did under it.
struct ProbePoint {
  bool is_read = true;
  bool sequential = false;
  uint32_t depth = 1;
  uint32_t length_bytes = 4096;
  double iops = 0;
  double mean_us = 0;
  double p99_us = 0;
};

/// Measures the file at options.path. Errors: not_found, invalid (too small), io, unsupported
/// (without direct I/O only the page cache would be measured).
Result<std::vector<ProbePoint>> probe_device(const ProbeOptions& options);

struct DeviceFit {
  model::NvmeOptions options{};
  std::vector<ProbePoint> modelled;  ///< the model under the loads of the measurement, in its order
  double mean_error = 0;             ///< mean of |modelled - measured| / measured over the IOPS
  double worst_error = 0;
};

/// Fits the model to `measured`, which probe_device() made.
DeviceFit fit_device(const std::vector<ProbePoint>& measured, uint64_t seed);

/// Prints points, parameters and errors.
void report_fit(const std::vector<ProbePoint>& measured, const DeviceFit& fit, std::FILE* out);

}  // namespace latte::study
