// Training the linear model: LIBLINEAR's L2-loss support vector machine in the primal (-s 2), which
// takes 100,000 rows in about a second.
//
// Thread rule: any thread but a reactor's; it computes for seconds.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "policy/svm_model.h"

namespace latte {

/// One decision of the past and what would have been right.
struct SvmSample {
  SvmInputs inputs;
  IoKind kind = IoKind::read;
  bool cloud_faster = false;
  float doublings = 1;  ///< how far the tiers were apart: |log2| of the ratio; weighs the sample
};

struct SvmTraining {
  SvmWeights weights{};
  std::array<uint32_t, kIoKinds> rows{};  ///< used, per kind; 0: the kind has no model
};

/// Weights for `samples`. A kind with fewer than kLeastSvmRows of them, or about which the machine
/// learns nothing that holds on rows it has not seen, gets the weights that give the more frequent
/// answer always (or 0 without any sample).
SvmTraining train_svm(std::span<const SvmSample> samples);

inline constexpr uint32_t kLeastSvmRows = 256;

}  // namespace latte
