#include "policy/block_history.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace latte::policy {

void BlockHistory::observe(const CacheAccess& access) {
  const BlockId block = access.block;
  ++now_;
  model_.tick();
  const uint8_t before = class_[block];
  const bool known = before != kForgotten;
  if (known) model_.ended(before, age(block), !access.is_write);
  if (!known || access.is_write) reads_[block] = 0;
  uint8_t next = kFirstWrite;
  if (!access.is_write)
    next = read_class(access);
  else if (known)
    next = before >= kFirstRead ? kWriteAfterRead : kWriteAgain;
  class_[block] = next;
  last_[block] = now_;
  model_.began(next);
}

uint8_t BlockHistory::read_class(const CacheAccess& access) {
  const BlockId block = access.block;
  if (class_[block] == kForgotten) return access.is_sequential ? kFirstReadInStream : kFirstRead;
  if (class_[block] < kFirstRead) return kReadAfterWrite;
  reads_[block] = static_cast<uint8_t>(std::min(reads_[block] + 1, int{kMostReads}));
  const auto often = static_cast<uint32_t>(std::bit_width(unsigned{reads_[block]})) - 1;
  const uint64_t interval = age(block);
  const uint32_t step = interval < capacity_ / 4   ? 0
                        : interval < capacity_     ? 1
                        : interval < 4 * capacity_ ? 2
                                                   : 3;
  const auto result = static_cast<uint8_t>(kReadAgain + often * kIntervalSteps + step);
  LATTE_CHECK(result < kReuseClasses);
  return result;
}

}  // namespace latte::policy
