// Training the linear model: LIBLINEAR's L2-loss support vector machine in the primal (-s 2), which
// takes 100,000 rows in about a second.
//
// Thread rule: any thread but a reactor's; it computes for seconds.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "policy/svm_model.h"

namespace latte {

/// One decision of the past and what would have been right.
struct SvmSample {
  SvmInputs inputs;
  IoKind kind = IoKind::read;
  float local_us = 0;  ///< what each tier took, or would have
  float cloud_us = 0;
  bool cloud_faster() const { return cloud_us < local_us; }
  /// What the wrong answer costs.
  float apart_us() const { return std::abs(cloud_us - local_us); }
};

struct SvmTraining {
  SvmModel model{};
  std::array<uint32_t, kIoKinds> rows{};  ///< used, per kind; 0: the kind has no model
};

/// Weights for `samples`. A kind with fewer than kLeastSvmRows of them, or about which the machine
/// learns nothing that holds on rows it has not seen, gets the weights that give the one answer
/// that costs less always (or 0 without any sample). A row counts by what the wrong answer costs:
/// up to kMostWeight times the kind's median one.
SvmTraining train_svm(std::span<const SvmSample> samples);

/// Likewise with what the I/O would cost others on each tier added to the latencies: a model that
/// sends an I/O where it costs least altogether, not where it is done sooner itself.
SvmTraining train_charged(std::vector<SvmSample> samples, const CongestionTolls& tolls);

inline constexpr uint32_t kLeastSvmRows = 256;
inline constexpr uint32_t kMostWeight = 3;

}  // namespace latte
