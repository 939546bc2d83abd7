#include "policy/s3fifo_policy.h"

#include <algorithm>

namespace latte::policy {

S3FifoPolicy::S3FifoPolicy(const CacheOptions& options)
    : small_blocks_(options.capacity_blocks / kSmallShare),
      main_blocks_(options.capacity_blocks - small_blocks_),
      lists_(options.block_count),
      hits_(options.block_count),
      by_read_(options.block_count) {}

bool S3FifoPolicy::touch(const CacheAccess& access) {
  const BlockId block = access.block;
  const uint8_t list = lists_.list_of(block);
  if (list == kSmall || list == kMain) {
    hits_[block] = static_cast<uint8_t>(std::min(hits_[block] + 1, int{kMostHits}));
    return true;
  }
  const bool known = list == kGhost;
  if (known) lists_.remove(block);
  while (lists_.size(kSmall) + lists_.size(kMain) >= small_blocks_ + main_blocks_) evict();
  const bool to_main = known || small_blocks_ == 0;
  lists_.push_back(to_main ? kMain : kSmall, block);
  hits_[block] = 0;
  by_read_[block] = access.is_write ? 0 : 1;
  if (to_main && !access.is_write) count_admitted();
  return false;
}

void S3FifoPolicy::evict() {
  if (lists_.size(kMain) > main_blocks_ || lists_.size(kSmall) == 0)
    evict_from_main();
  else
    evict_from_small();
}

void S3FifoPolicy::evict_from_small() {
  while (lists_.size(kSmall) > 0) {
    const BlockId block = lists_.pop_front(kSmall);
    if (hits_[block] < kMoveAtHits) {
      if (lists_.size(kGhost) >= main_blocks_) lists_.pop_front(kGhost);
      lists_.push_back(kGhost, block);
      return;
    }
    lists_.push_back(kMain, block);
    hits_[block] = 0;
    if (by_read_[block] != 0) count_admitted();
  }
}

void S3FifoPolicy::evict_from_main() {
  for (;;) {
    const BlockId block = lists_.pop_front(kMain);
    if (hits_[block] == 0) return;
    --hits_[block];
    lists_.push_back(kMain, block);
  }
}

}  // namespace latte::policy
