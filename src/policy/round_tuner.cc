#include "policy/round_tuner.h"

#include <algorithm>
#include <bit>

namespace latte::policy {
namespace {

/// Blocks of a shadow's log at most.
constexpr uint64_t kMostBlocks = 8192;
/// A block that is written for another round costs so many hits.
constexpr double kWriteCost = 1.0 / 8;
/// Looks at the score while as many accesses as blocks go by.
constexpr uint64_t kLooks = 16;

/// One block in so many, a power of two.
uint64_t share_of(uint64_t pool_blocks) {
  return std::bit_ceil(std::max<uint64_t>((pool_blocks + kMostBlocks - 1) / kMostBlocks, 1));
}

uint64_t shadow_blocks(uint64_t pool_blocks) {
  return std::max<uint64_t>(pool_blocks / share_of(pool_blocks), 1);
}

}  // namespace

RoundTuner::RoundTuner(uint64_t pool_blocks)
    : mask_(share_of(pool_blocks) - 1),
      logs_{ShadowLog(shadow_blocks(pool_blocks), 1), ShadowLog(shadow_blocks(pool_blocks), 2),
            ShadowLog(shadow_blocks(pool_blocks), 3)},
      look_every_(std::max<uint64_t>(shadow_blocks(pool_blocks) / kLooks, 1)),
      until_look_(look_every_) {}

void RoundTuner::see(uint64_t key, bool is_write) {
  for (size_t i = 0; i < kBars; ++i) {
    if (is_write) {
      logs_[i].write(key);
    } else if (logs_[i].read(key)) {
      bars_.add(i, 1);
    }
  }
  if (--until_look_ > 0) return;
  until_look_ = look_every_;
  for (size_t i = 0; i < kBars; ++i)
    bars_.add(i, -kWriteCost * static_cast<double>(logs_[i].take_rewritten()));
  (void)bars_.look();
}

uint64_t RoundTuner::memory_bytes() const {
  uint64_t bytes = 0;
  for (const ShadowLog& log : logs_) bytes += log.memory_bytes();
  return bytes;
}

}  // namespace latte::policy
