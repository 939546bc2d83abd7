// One regime, one seed, one dispatcher, on device models, in one of two ways:
//
//  predict   Every I/O goes to both tiers, and each tier's state is that of having served them all;
//            so are the logs of real drives (study/latency_log.h). What the dispatcher says changes
//            nothing, its latency is that of the tier it named, and everybody judges the same I/Os.
//  dispatch  An I/O goes to the tier that was chosen, so each tier's state is what the dispatcher's
//            own decisions made of it. The truth is what the other tier would have answered in the
//            state it is in (DeviceModel::peek).
//
// The truth is exact in both. In the second a good dispatcher works itself towards the point where
// both tiers answer alike, and being wrong there costs nothing: gains count there, not accuracy.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "policy/dispatcher.h"
#include "policy/svm_train.h"
#include "study/decision_score.h"
#include "study/regime.h"

namespace latte::study {

enum class StudyMode : uint8_t { predict, dispatch };

/// Who decides.
struct Decider {
  enum class Kind : uint8_t { rule, oracle, dispatcher } kind = Kind::rule;
  DispatchRule rule{};              ///< for rule
  const SvmModel* model = nullptr;  ///< for dispatcher; null: untrained
};

struct DispatchRun {
  std::array<LatencySum, kIoKinds> latencies;  ///< of what was decided
  LatencySum all;
  std::array<DecisionScore, kIoKinds> decided;  ///< what was done, exploration included
  std::array<DecisionScore, kIoKinds> model;    ///< what the model said
  /// What each rule would have said in the same places.
  std::array<std::array<DecisionScore, kIoKinds>, kDispatchRules.size()> rules;
  std::array<LatencySum, kDispatchRules.size()> rule_latencies;  ///< predict only
  LatencySum oracle;                                             ///< predict only
  TimeNs end_ns = 0;                                             ///< of the whole run
  uint64_t explored = 0;
};

/// Does a disk ask both tiers? So it does for what only serves to know one, but for writes that go
/// to the pool anyway. Reads end with the sooner one, writes with the pool. (No tier is silent
/// here.)
bool asks_both(const DispatchTicket& ticket);

/// What was to be learnt from one I/O.
SvmSample sample_of(const SvmInputs& inputs, IoKind kind, const Truth& truth);

/// Called for every I/O with the inputs and the truth, if it is not empty.
using SampleSink = std::function<void(const SvmSample& sample)>;

DispatchRun run_dispatch(StudyMode mode, const Regime& regime, uint64_t seed,
                         const Decider& decider, const SampleSink& sink = {});

}  // namespace latte::study
