#include "policy/queue_policies.h"

#include <algorithm>

namespace latte::policy {

bool QueuePolicy::touch(const CacheAccess& access) {
  if (lists_.list_of(access.block) == 0) {
    if (order_ == Order::lru) lists_.move_to_back(0, access.block);
    return true;
  }
  if (lists_.size(0) == capacity_) lists_.pop_front(0);
  lists_.push_back(0, access.block);
  if (!access.is_write) count_admitted();
  return false;
}

bool SecondMissPolicy::touch(const CacheAccess& access) {
  const BlockId block = access.block;
  const uint8_t list = lists_.list_of(block);
  if (list == kCache) {
    rounds_[block] = static_cast<uint8_t>(std::min(rounds_[block] + 1, int{kMostRounds}));
    return true;
  }
  if (list == kGhost) lists_.remove(block);
  if (!access.is_write && list != kGhost) {
    if (lists_.size(kGhost) == capacity_) lists_.pop_front(kGhost);
    lists_.push_back(kGhost, block);
    return false;
  }
  if (lists_.size(kCache) == capacity_) make_room();
  lists_.push_back(kCache, block);
  rounds_[block] = 0;
  if (!access.is_write) count_admitted();
  return false;
}

void SecondMissPolicy::make_room() {
  for (;;) {
    const BlockId block = lists_.pop_front(kCache);
    if (rounds_[block] == 0) return;
    --rounds_[block];
    lists_.push_back(kCache, block);
  }
}

}  // namespace latte::policy
