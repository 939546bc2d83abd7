// The linear model: weights over what DispatchState knows, one set for reads
// and one for writes. Inputs are logarithms: a window of completions per tier
// as the paper has it (5 I/Os, latency, size and depth on each tier), the I/O's
// own size, and the state of both queues.
//
// The decision is the sign of a dot product: positive means that the cloud will
// be faster.
#pragma once

#include <array>
#include <cstdint>

#include "policy/congestion_toll.h"
#include "policy/dispatch_state.h"

namespace latte {

/// Inputs of one decision. The last is always 1.
inline constexpr size_t kSvmInputs = 80;
using SvmInputs = std::array<float, kSvmInputs>;

struct alignas(64) SvmModel {
  std::array<std::array<float, kSvmInputs>, kIoKinds> weights{};
  CongestionTolls tolls;  ///< that the latencies it was trained on were charged with
};
static_assert(sizeof(SvmModel) < 1024, "the model is under 1 KB");
static_assert(sizeof(SvmModel) == sizeof(SvmModel::weights) + sizeof(CongestionTolls),
              "no padding");

/// What the model sees of `io`, now. Latencies of I/Os under way are not in it.
void make_svm_inputs(const DispatchState& state, const DispatchIo& io, SvmInputs& inputs);

/// How many I/Os are under way on `tier`, this one included: the logarithm, from its inputs.
float depth_log2(const SvmInputs& inputs, Tier tier);

/// Asks for the weights' cache lines ahead of svm_score().
void fetch_svm_weights(const SvmModel& model, IoKind kind);

/// Positive: cloud. The distance from 0 is the confidence, in units of the
/// margin.
float svm_score(const SvmModel& model, IoKind kind, const SvmInputs& inputs);

}  // namespace latte
