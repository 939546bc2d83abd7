// RoundTuner: how often a block of the pool must have been read to get another round in the log
// when its segment is reclaimed. Where many blocks are read now and then, once is right; where they
// are read in loops, or most of them never again, another round costs a write and pushes out what
// is better. One block in so many, by a hash of its key, is run through a ShadowLog per bar; hits,
// less a part of what is written for them, decide (Rivals).
// Thread rule: an object belongs to one thread. Memory: 3 MiB at most. Cost of an access that is
// not in the sample: a multiplication.
#pragma once

#include <array>
#include <cstdint>

#include "policy/rivals.h"
#include "policy/shadow_log.h"

namespace latte::policy {

class RoundTuner {
 public:
  explicit RoundTuner(uint64_t pool_blocks);

  void saw_read(uint64_t key) {
    if (sampled(key)) see(key, false);
  }
  void saw_write(uint64_t key) {
    if (sampled(key)) see(key, true);
  }
  /// Reads since it was written that earn a block another round: 1 to ShadowLog::kMostReads.
  uint8_t bar() const { return static_cast<uint8_t>(bars_.best() + 1); }
  uint64_t memory_bytes() const;

 private:
  static constexpr size_t kBars = ShadowLog::kMostReads;
  static constexpr size_t kFirst = 1;  // index of bar 2: half the writes of bar 1

  bool sampled(uint64_t key) const { return (key * 0x9e3779b97f4a7c15ull >> 32 & mask_) == 0; }
  void see(uint64_t key, bool is_write);

  uint64_t mask_;
  std::array<ShadowLog, kBars> logs_;
  // A change costs nothing by itself, and all see the same accesses.
  Rivals<kBars> bars_{kFirst, Lead{0.005, 1}};
  uint64_t look_every_;
  uint64_t until_look_;
};

}  // namespace latte::policy
