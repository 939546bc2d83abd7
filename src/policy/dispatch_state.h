// DispatchState: what a dispatcher may know about the two tiers - the last completions of each, and
// what is under way on each now. Rules and models read it; whoever runs the I/O tells it what
// happens.
//
// Invariants:
//  1. Nothing of an I/O's latency is known before it completes (note_completion); until then only
//     that it is under way, how large it is and since when.
//  2. Counts and bytes under way are those of the I/Os begun and not completed.
// Thread rule: one reactor. No allocation after construction, no lock.
// Limits: kMaxTracked I/Os of a kind under way a tier; beyond it I/Os are counted but leave no
// latency.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/units.h"
#include "policy/write_policy.h"

namespace latte {

enum class IoKind : uint8_t { read, write };
inline constexpr size_t kIoKinds = 2;
inline constexpr size_t kTiers = 2;

/// An I/O that wants to go to one of the tiers.
struct DispatchIo {
  TimeNs now_ns = 0;
  IoKind kind = IoKind::read;
  uint32_t bytes = 0;
};

/// Completions of one kind on one tier. Logarithms are of microseconds, of KiB, and of 1 + the
/// number of I/Os that were under way when it was submitted. One cache line.
struct alignas(64) KindHistory {
  static constexpr size_t kWindow = 5;
  std::array<float, kWindow> latency_log2{};  ///< newest first
  std::array<float, kWindow> size_log2{};
  std::array<float, kWindow> depth_log2{};
  float slow_latency_us = 0;  ///< moving average, a 32nd of each new one; 0 = none completed yet
};
static_assert(sizeof(KindHistory) == 64);

/// The rest of what is known of one tier. One cache line.
struct alignas(64) TierQueue {
  std::array<uint32_t, kIoKinds> count{};    ///< under way
  std::array<uint16_t, kIoKinds> tracked{};  ///< slots in use, finished ones in between included
  bool dead = false;                         ///< answers with errors, or not at all
  uint64_t bytes = 0;                        ///< under way
  std::array<TimeNs, kIoKinds> oldest_ns{};  ///< when the oldest under way was submitted; 0 = none
  TimeNs last_completion_ns = 0;
  std::array<float, kIoKinds> fast_latency_us{};  ///< moving average, a quarter of each new one
  std::array<float, kIoKinds> wait_us{};          ///< likewise, of latency over depth
};
static_assert(sizeof(TierQueue) == 64);

class DispatchState {
 public:
  static constexpr uint32_t kMaxTracked = 1024;
  static constexpr uint32_t kUntracked = UINT32_MAX;

  DispatchState();

  /// `io` goes to `tier`. The ticket is for note_completion().
  uint32_t note_submission(Tier tier, const DispatchIo& io);
  /// It completed at `now_ns`. `ok` false: how long that took says nothing; it failed, say.
  void note_completion(Tier tier, uint32_t ticket, const DispatchIo& io, TimeNs now_ns,
                       bool ok = true);
  void set_dead(Tier tier, bool dead) { queue_[index(tier)].dead = dead; }

  const KindHistory& history(Tier tier, IoKind kind) const {
    return history_[index(tier)][static_cast<size_t>(kind)];
  }
  /// Has the window as many completions as it holds?
  bool window_is_full(Tier tier, IoKind kind) const {
    return in_window_[index(tier)][static_cast<size_t>(kind)] == KindHistory::kWindow;
  }
  const TierQueue& queue(Tier tier) const { return queue_[index(tier)]; }
  /// Asks for all cache lines that a decision about `kind` reads, so that a cold cache costs one
  /// trip to memory and not one a line.
  void fetch(IoKind kind) const {
    for (const Tier tier : {Tier::local, Tier::cloud}) {
      __builtin_prefetch(&history(tier, kind));
      __builtin_prefetch(&queue(tier));
    }
    __builtin_prefetch(&last_submission_ns_);
  }
  /// Of the I/O before, whichever kind; 0 = none yet.
  TimeNs last_submission_ns() const { return last_submission_ns_; }

  static constexpr size_t index(Tier tier) { return static_cast<size_t>(tier); }

 private:
  struct Slot {
    TimeNs submitted_ns = 0;
    float depth = 0;  ///< with itself
    bool done = false;
  };
  // Slots of one kind on one tier in order of submission; the first is the oldest under way.
  struct Ring {
    uint32_t head = 0;
    std::unique_ptr<Slot[]> slots;
  };
  void learn(Tier tier, const DispatchIo& io, const Slot& slot, TimeNs latency_ns);

  std::array<std::array<KindHistory, kIoKinds>, kTiers> history_;
  std::array<TierQueue, kTiers> queue_;
  std::array<std::array<Ring, kIoKinds>, kTiers> rings_;
  TimeNs last_submission_ns_ = 0;
  std::array<std::array<uint8_t, kIoKinds>, kTiers> in_window_{};
};

}  // namespace latte
