#include "policy/svm_model.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "policy/fast_log.h"

namespace latte {
namespace {

constexpr size_t kWindowInputs = 3 * KindHistory::kWindow;
constexpr size_t kTierInputs = 17;
constexpr size_t kDepthInput = 9;  // of a tier's
/// Ratios count up to so many doublings, so that none drowns the others.
constexpr float kMostDoublings = 6;
constexpr float kMostMargin = 2;
constexpr size_t kLineBytes = 64;

// What logarithms are taken of, all at once: eleven a tier, then two of the
// I/O's own.
enum Argument : size_t {
  kSlow,  // moving averages of the latency
  kFast,
  kPerDepth,  // latency over depth
  kReads,     // under way
  kWrites,
  kDepth,
  kBytes,
  kAge,       // of the oldest of the kind
  kOtherAge,  // of the other kind
  kSilence,   // since the last completion
  kTierArguments,
};
constexpr size_t kSize = 2 * kTierArguments;
constexpr size_t kGap = kSize + 1;
constexpr size_t kArguments = (kGap + 1 + 3) / 4 * 4;

float us(TimeNs duration_ns) {
  return 1 + static_cast<float>(std::max<TimeNs>(duration_ns, 0)) / 1e3f;
}

/// 1, whose logarithm is 0, for an average of nothing.
float or_one(float average) { return average > 0 ? average : 1; }

float age_us(const TierQueue& queue, size_t kind, TimeNs now_ns) {
  return queue.oldest_ns[kind] == 0 ? 1 : us(now_ns - queue.oldest_ns[kind]);
}

void gather(const TierQueue& queue, const KindHistory& history, const DispatchIo& io, float* out) {
  const auto kind = static_cast<size_t>(io.kind);
  const auto reads = static_cast<float>(queue.count[0]);
  const auto writes = static_cast<float>(queue.count[1]);
  out[kSlow] = or_one(history.slow_latency_us);
  out[kFast] = or_one(queue.fast_latency_us[kind]);
  out[kPerDepth] = or_one(queue.wait_us[kind]);
  out[kReads] = 1 + reads;
  out[kWrites] = 1 + writes;
  out[kDepth] = 1 + reads + writes;
  out[kBytes] = 1 + static_cast<float>(queue.bytes) / 1024;
  out[kAge] = age_us(queue, kind, io.now_ns);
  out[kOtherAge] = age_us(queue, 1 - kind, io.now_ns);
  out[kSilence] = us(io.now_ns - queue.last_completion_ns);
}

/// A tier's 17 inputs from its logarithms.
void queue_inputs(const float* log2, float* out) {
  const float expected = log2[kPerDepth] + log2[kDepth];
  // The oldest is late: the tier is stalled, whatever it did before.
  const float late = std::clamp(log2[kAge] - log2[kSlow], 0.0f, kMostDoublings);
  out[0] = log2[kSlow];
  out[1] = log2[kFast];
  out[2] = expected;
  out[3] = log2[kReads];
  out[4] = log2[kWrites];
  out[5] = log2[kBytes];
  out[6] = log2[kAge];
  out[7] = late;
  out[8] = late * log2[kDepth];
  out[kDepthInput] = log2[kDepth];
  out[10] = log2[kSilence];
  out[11] = std::max(log2[kAge], expected);
  out[12] = log2[kOtherAge];
  const float age_of_both = std::max(log2[kAge], log2[kOtherAge]);
  const float late_of_both = std::clamp(age_of_both - log2[kSlow], 0.0f, kMostDoublings);
  out[13] = age_of_both;
  out[14] = late_of_both;
  out[15] = late_of_both * log2[kDepth];
  out[16] = std::max(age_of_both, log2[kFast]);
}

float margin(float local, float cloud) {
  return std::clamp(local - cloud, -kMostMargin, kMostMargin);
}

}  // namespace

void make_svm_inputs(const DispatchState& state, const DispatchIo& io, SvmInputs& inputs) {
  const KindHistory& local = state.history(Tier::local, io.kind);
  const KindHistory& cloud = state.history(Tier::cloud, io.kind);
  state.fetch(io.kind);
  float log2[kArguments];
  gather(state.queue(Tier::local), local, io, log2);
  gather(state.queue(Tier::cloud), cloud, io, log2 + kTierArguments);
  log2[kSize] = static_cast<float>(std::max(io.bytes, 1u)) / 1024;
  log2[kGap] = us(io.now_ns - state.last_submission_ns());
  for (size_t i = kGap + 1; i < kArguments; ++i) log2[i] = 1;
  fast_log2(log2, kArguments);

  float* out = inputs.data();
  static_assert(offsetof(KindHistory, slow_latency_us) == kWindowInputs * sizeof(float));
  std::memcpy(out, &local, kWindowInputs * sizeof(float));
  std::memcpy(out + kWindowInputs, &cloud, kWindowInputs * sizeof(float));
  float* const of_local = out + 2 * kWindowInputs;
  float* const of_cloud = of_local + kTierInputs;
  queue_inputs(log2, of_local);
  queue_inputs(log2 + kTierArguments, of_cloud);
  out = of_cloud + kTierInputs;
  out[0] = log2[kSize];
  out[1] = log2[kGap];
  // The simple rules' own margins, bounded: far from the boundary more of one
  // says nothing.
  out[2] = margin(of_local[2], of_cloud[2]);
  out[3] = margin(of_local[1], of_cloud[1]);
  out[4] = margin(local.latency_log2[0], cloud.latency_log2[0]);
  out[5] = margin(of_local[0], of_cloud[0]);
  out[6] = margin(of_local[11], of_cloud[11]);
  out[7] = margin(of_local[16], of_cloud[16]);
  out[8] = margin(of_local[5], of_cloud[5]);
  out[9] = margin(of_local[kDepthInput], of_cloud[kDepthInput]);
  // Size against what is in front of it, and against how late that is.
  out[10] = out[0] * of_local[kDepthInput];
  out[11] = out[0] * of_local[14];
  out[12] = out[0] * out[0];
  out[13] = out[4] * of_local[14];
  out[14] = out[0] * of_cloud[kDepthInput];
  out[15] = 1;
  static_assert(2 * kWindowInputs + 2 * kTierInputs + 16 == kSvmInputs);
}

float depth_log2(const SvmInputs& inputs, Tier tier) {
  const size_t of_tier = 2 * kWindowInputs + DispatchState::index(tier) * kTierInputs;
  return inputs[of_tier + kDepthInput];
}

void fetch_svm_weights(const SvmModel& model, IoKind kind) {
  const auto& of_kind = model.weights[static_cast<size_t>(kind)];
  for (size_t i = 0; i < kSvmInputs; i += kLineBytes / sizeof(float))
    __builtin_prefetch(&of_kind[i]);
}

float svm_score(const SvmModel& model, IoKind kind, const SvmInputs& inputs) {
  const float* w = model.weights[static_cast<size_t>(kind)].data();
  FourFloats sums[4] = {};
  for (size_t i = 0; i < kSvmInputs; i += 16)
    for (size_t lane = 0; lane < 4; ++lane)
      sums[lane] += *reinterpret_cast<const FourFloats*>(w + i + 4 * lane) *
                    *reinterpret_cast<const FourFloats*>(inputs.data() + i + 4 * lane);
  const FourFloats sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

}  // namespace latte
