// The report on prediction: for every regime and kind, how often the dispatcher names the faster
// tier and what that gains, beside the simple rules; the same for logs of real drives.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/svm_train.h"
#include "study/dispatch_run.h"

namespace latte::study {

struct PredictionPlan {
  uint32_t train_seeds = 4;
  uint32_t test_seeds = 3;
  uint64_t first_test_seed = 1001;  ///< training uses 1, 2, ...; must lie beyond
  uint32_t requests = 120'000;      ///< of each run
  std::vector<std::string> logs{};  ///< latency logs; reported beside the regimes
};

/// Weights from the training seeds of all regimes.
SvmTraining train_for(StudyMode mode, const PredictionPlan& plan);

/// Prints the report. Errors: those of the logs. True if the dispatcher is not below a simple rule
/// anywhere (accuracy and mean latency, prediction).
Result<bool> report_prediction(const PredictionPlan& plan, std::FILE* out);

}  // namespace latte::study
