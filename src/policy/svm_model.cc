#include "policy/svm_model.h"

#include <algorithm>
#include <cstring>

#include "policy/fast_log.h"

namespace latte {
namespace {

constexpr size_t kTierInputs = 13;
/// Ratios count up to so many doublings, so that none drowns the others.
constexpr float kMostDoublings = 6;

float log2_us(TimeNs duration_ns) {
  return fast_log2(1 + static_cast<float>(std::max<TimeNs>(duration_ns, 0)) / 1e3f);
}

float log2_or_zero(float value) { return value > 0 ? fast_log2(value) : 0; }

float clip(float value, float least, float most) { return std::clamp(value, least, most); }

/// Of the oldest I/O of a kind under way, as a logarithm.
float age_of(const TierQueue& queue, size_t kind, TimeNs now_ns) {
  return queue.oldest_ns[kind] == 0 ? 0 : log2_us(now_ns - queue.oldest_ns[kind]);
}

/// What a tier's queue tells: 13 inputs at `out`. Returns log2 of the time the queue's length and
/// its recent pace let expect.
float queue_inputs(const TierQueue& queue, const KindHistory& history, const DispatchIo& io,
                   float* out) {
  const auto kind = static_cast<size_t>(io.kind);
  const float depth = static_cast<float>(queue.count[0] + queue.count[1]);
  const float depth_log2 = fast_log2(1 + depth);
  const float slow_log2 = log2_or_zero(history.slow_latency_us);
  const float fast_latency_log2 = log2_or_zero(queue.fast_latency_us[kind]);
  const float age_log2 = age_of(queue, kind, io.now_ns);
  const float expected_log2 = log2_or_zero(queue.wait_us[kind]) + depth_log2;
  // The oldest is late: the tier is stalled, whatever it did before.
  const float late = clip(age_log2 - slow_log2, 0, kMostDoublings);
  out[0] = slow_log2;
  out[1] = fast_latency_log2;
  out[2] = expected_log2;
  out[3] = fast_log2(1 + static_cast<float>(queue.count[0]));
  out[4] = fast_log2(1 + static_cast<float>(queue.count[1]));
  out[5] = fast_log2(1 + static_cast<float>(queue.bytes) / 1024);
  out[6] = age_log2;
  out[7] = late;
  out[8] = late * depth_log2;
  out[9] = depth_log2;
  out[10] = log2_us(io.now_ns - queue.last_completion_ns);
  out[11] = std::max(age_log2, expected_log2);
  out[12] = age_of(queue, 1 - kind, io.now_ns);
  return expected_log2;
}

}  // namespace

void make_svm_inputs(const DispatchState& state, const DispatchIo& io, SvmInputs& inputs) {
  constexpr size_t kWindowInputs = 3 * KindHistory::kWindow;
  const KindHistory& local = state.history(Tier::local, io.kind);
  const KindHistory& cloud = state.history(Tier::cloud, io.kind);
  float* out = inputs.data();
  static_assert(offsetof(KindHistory, slow_latency_us) == kWindowInputs * sizeof(float));
  std::memcpy(out, &local, kWindowInputs * sizeof(float));
  std::memcpy(out + kWindowInputs, &cloud, kWindowInputs * sizeof(float));
  out += 2 * kWindowInputs;
  const float local_log2 = queue_inputs(state.queue(Tier::local), local, io, out);
  const float cloud_log2 = queue_inputs(state.queue(Tier::cloud), cloud, io, out + kTierInputs);
  const float* const queues[] = {out, out + kTierInputs};
  out += 2 * kTierInputs;
  const float size_log2 = fast_log2(static_cast<float>(std::max(io.bytes, 1u)) / 1024);
  out[0] = size_log2;
  out[1] = log2_us(io.now_ns - state.last_submission_ns());
  // The simple rules' own margins, bounded: far from the boundary more of one says nothing.
  out[2] = clip(local_log2 - cloud_log2, -2, 2);
  out[3] = clip(queues[0][1] - queues[1][1], -2, 2);
  out[4] = clip(local.latency_log2[0] - cloud.latency_log2[0], -2, 2);
  out[5] = clip(queues[0][0] - queues[1][0], -2, 2);
  out[6] = clip(queues[0][11] - queues[1][11], -2, 2);
  out[7] = 1;
  static_assert(2 * kWindowInputs + 2 * kTierInputs + 8 == kSvmInputs);
}

float svm_score(const SvmWeights& weights, IoKind kind, const SvmInputs& inputs) {
  using Four = float __attribute__((vector_size(16), aligned(4), may_alias));
  const float* w = weights.weights[static_cast<size_t>(kind)].data();
  Four sums[4] = {};
  for (size_t i = 0; i < kSvmInputs; i += 16)
    for (size_t lane = 0; lane < 4; ++lane)
      sums[lane] += *reinterpret_cast<const Four*>(w + i + 4 * lane) *
                    *reinterpret_cast<const Four*>(inputs.data() + i + 4 * lane);
  const Four sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

}  // namespace latte
