#include "policy/arc_policy.h"

#include <algorithm>

namespace latte::policy {

bool ArcPolicy::touch(const CacheAccess& access) {
  const BlockId block = access.block;
  const uint8_t list = lists_.list_of(block);
  if (list == kOnce || list == kOften) {
    lists_.remove(block);
    lists_.push_back(kOften, block);
    return true;
  }
  if (!access.is_write) count_admitted();
  if (list == kOnceGhost || list == kOftenGhost) {
    const uint64_t once = std::max<uint64_t>(lists_.size(kOnceGhost), 1);
    const uint64_t often = std::max<uint64_t>(lists_.size(kOftenGhost), 1);
    if (list == kOnceGhost)
      target_ = std::min(capacity_, target_ + std::max<uint64_t>(often / once, 1));
    else
      target_ -= std::min(target_, std::max<uint64_t>(once / often, 1));
    replace(list == kOftenGhost);
    lists_.remove(block);
    lists_.push_back(kOften, block);
    return false;
  }
  make_room();
  lists_.push_back(kOnce, block);
  return false;
}

/// Room for a block that neither the cache nor what it dropped knows: the paper's case IV.
void ArcPolicy::make_room() {
  const uint64_t once = lists_.size(kOnce) + lists_.size(kOnceGhost);
  const uint64_t all = once + lists_.size(kOften) + lists_.size(kOftenGhost);
  if (once == capacity_) {
    if (lists_.size(kOnce) < capacity_) {
      lists_.pop_front(kOnceGhost);
      replace(false);
    } else {
      lists_.pop_front(kOnce);
    }
  } else if (all >= capacity_) {
    if (all == 2 * capacity_) lists_.pop_front(kOftenGhost);
    replace(false);
  }
}

void ArcPolicy::replace(bool in_often_ghost) {
  if (lists_.size(kOnce) + lists_.size(kOften) < capacity_) return;
  const uint64_t once = lists_.size(kOnce);
  const bool from_once = once > 0 && (once > target_ || (in_often_ghost && once == target_) ||
                                      lists_.size(kOften) == 0);
  if (from_once)
    lists_.push_back(kOnceGhost, lists_.pop_front(kOnce));
  else
    lists_.push_back(kOftenGhost, lists_.pop_front(kOften));
}

}  // namespace latte::policy
