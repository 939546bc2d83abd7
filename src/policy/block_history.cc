#include "policy/block_history.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace latte::policy {
namespace {

/// 0: one block, 1: up to 4, 2: up to 16, 3: up to 64, 4: more.
uint8_t length_step(uint32_t blocks) {
  const auto octave = static_cast<uint32_t>(std::bit_width(std::max(blocks, 1u) - 1));
  return static_cast<uint8_t>(std::min((octave + 1) / 2, 4u));
}

}  // namespace

void BlockHistory::observe(const CacheAccess& access) {
  const BlockId block = access.block;
  ++now_;
  model_.tick();
  const bool known = class_[block] != kForgotten;
  if (known) model_.ended(class_[block], age(block), !access.is_write);
  if (!known || access.is_write) reads_[block] = 0;
  uint8_t next = kFirstWrite;
  if (!access.is_write)
    next = read_event(access);
  else if (known)
    next = last_event(block) >= kFirstRead ? kWriteAfterRead : kWriteAgain;
  class_[block] = static_cast<uint8_t>(next * kLengthSteps + length_step(access.request_blocks));
  last_[block] = now_;
  model_.began(class_[block]);
}

uint8_t BlockHistory::read_event(const CacheAccess& access) {
  const BlockId block = access.block;
  if (class_[block] == kForgotten) return access.is_sequential ? kFirstReadInStream : kFirstRead;
  if (last_event(block) < kFirstRead) return kReadAfterWrite;
  reads_[block] = static_cast<uint8_t>(std::min(reads_[block] + 1, int{kMostReads}));
  const auto often = static_cast<uint32_t>(std::bit_width(unsigned{reads_[block]})) - 1;
  const uint64_t interval = age(block);
  const uint32_t step = interval < capacity_ / 4   ? 0
                        : interval < capacity_     ? 1
                        : interval < 4 * capacity_ ? 2
                                                   : 3;
  const auto result = static_cast<uint8_t>(kReadAgain + often * kIntervalSteps + step);
  LATTE_CHECK(result < kEvents);
  return result;
}

}  // namespace latte::policy
