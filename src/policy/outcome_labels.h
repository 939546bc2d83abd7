// Labels from experience: an I/O that ran tells how long its own tier took, never how long the
// other would have. The other's time is estimated from the I/Os that went there, by a linear
// regression of the logarithm of the latency on the model's inputs; exploration sees to it that
// there are some.
//
// Thread rule: any thread but a reactor's.
#pragma once

#include <span>
#include <vector>

#include "policy/svm_train.h"

namespace latte {

/// What became of one I/O.
struct DispatchOutcome {
  SvmInputs inputs;
  float latency_log2 = 0;  ///< of microseconds
  IoKind kind = IoKind::read;
  Tier tier = Tier::local;
};

/// Fewest outcomes of one kind on one tier from which the tier can be estimated.
inline constexpr size_t kLeastOutcomes = 64;

/// Training samples for those outcomes whose other tier can be estimated.
std::vector<SvmSample> label_outcomes(std::span<const DispatchOutcome> outcomes);

}  // namespace latte
