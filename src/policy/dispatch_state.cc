#include "policy/dispatch_state.h"

#include <algorithm>

#include "base/check.h"
#include "policy/fast_log.h"

namespace latte {
namespace {

constexpr float kFastPart = 1.0f / 4;
constexpr float kDownPart = 1.0f / 2;
constexpr float kSlowPart = 1.0f / 32;
constexpr float kLeastUs = 0.125f;  // keeps logarithms finite

void follow(float& average, float value, float part) {
  average = average == 0 ? value : average + (value - average) * part;
}

/// The same, but a tier that has become much faster is believed sooner: few I/Os get there until
/// then.
void follow_down(float& average, float value) {
  follow(average, value, 2 * value < average ? kDownPart : kFastPart);
}

/// Puts `value` in front; the oldest drops out.
void push(std::array<float, KindHistory::kWindow>& window, float value) {
  std::copy_backward(window.begin(), window.end() - 1, window.end());
  window.front() = value;
}

}  // namespace

DispatchState::DispatchState() {
  for (auto& kinds : rings_)
    for (Ring& ring : kinds) ring.slots = std::make_unique<Slot[]>(kMaxTracked);
}

uint32_t DispatchState::note_submission(Tier tier, const DispatchIo& io) {
  const auto kind = static_cast<size_t>(io.kind);
  TierQueue& queue = queue_[index(tier)];
  Ring& ring = rings_[index(tier)][kind];
  const uint32_t depth = queue.count[0] + queue.count[1];
  ++queue.count[kind];
  queue.bytes += io.bytes;
  last_submission_ns_ = io.now_ns;
  if (queue.tracked[kind] == kMaxTracked) return kUntracked;
  const uint32_t ticket = (ring.head + queue.tracked[kind]) % kMaxTracked;
  ++queue.tracked[kind];
  ring.slots[ticket] = {io.now_ns, 1 + static_cast<float>(depth), false};
  if (queue.tracked[kind] == 1) queue.oldest_ns[kind] = io.now_ns;
  return ticket;
}

void DispatchState::note_completion(Tier tier, uint32_t ticket, const DispatchIo& io, TimeNs now_ns,
                                    bool ok) {
  const auto kind = static_cast<size_t>(io.kind);
  TierQueue& queue = queue_[index(tier)];
  LATTE_CHECK(queue.count[kind] > 0 && queue.bytes >= io.bytes);
  --queue.count[kind];
  queue.bytes -= io.bytes;
  queue.last_completion_ns = now_ns;
  if (ticket == kUntracked) return;
  Ring& ring = rings_[index(tier)][kind];
  LATTE_CHECK(ticket < kMaxTracked && !ring.slots[ticket].done);
  ring.slots[ticket].done = true;
  if (ok) learn(tier, io, ring.slots[ticket], now_ns - ring.slots[ticket].submitted_ns);
  while (queue.tracked[kind] > 0 && ring.slots[ring.head].done) {
    ring.head = (ring.head + 1) % kMaxTracked;
    --queue.tracked[kind];
  }
  queue.oldest_ns[kind] = queue.tracked[kind] == 0 ? 0 : ring.slots[ring.head].submitted_ns;
}

void DispatchState::learn(Tier tier, const DispatchIo& io, const Slot& slot, TimeNs latency_ns) {
  const auto kind = static_cast<size_t>(io.kind);
  KindHistory& history = history_[index(tier)][kind];
  TierQueue& queue = queue_[index(tier)];
  uint8_t& in_window = in_window_[index(tier)][kind];
  if (in_window < KindHistory::kWindow) ++in_window;
  const float latency_us = std::max(kLeastUs, static_cast<float>(latency_ns) / 1e3f);
  const float latency_log2 = fast_log2(latency_us);
  push(history.latency_log2, latency_log2);
  push(history.size_log2, fast_log2(static_cast<float>(std::max(io.bytes, 1u)) / 1024));
  push(history.depth_log2, fast_log2(slot.depth));
  follow(history.slow_latency_us, latency_us, kSlowPart);
  follow_down(queue.fast_latency_us[kind], latency_us);
  follow_down(queue.wait_us[kind], latency_us / slot.depth);
}

}  // namespace latte
