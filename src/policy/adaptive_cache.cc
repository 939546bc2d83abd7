#include "policy/adaptive_cache.h"

#include <algorithm>
#include <utility>

namespace latte::policy {

AdaptiveCache::AdaptiveCache(const BlockHistory& history, uint64_t capacity_blocks,
                             uint64_t block_count, size_t mode, uint64_t seed)
    : history_(history),
      capacity_(capacity_blocks),
      names_(std::max<uint64_t>(capacity_blocks * kNamesPerMille / 1000, 1)),
      mode_(mode),
      lists_(block_count),
      hits_(block_count),
      by_read_(block_count),
      place_(block_count),
      random_(seed) {
  set_mode(mode);
}

void AdaptiveCache::set_mode(size_t mode) {
  LATTE_CHECK(mode < kCacheModes.size());
  mode_ = mode;
  const uint64_t wanted = capacity_ * kCacheModes[mode].staging_per_mille / 1000;
  staging_blocks_ = std::max<uint64_t>(wanted, capacity_ >= kLeastStaged ? 1 : 0);
}

AdaptiveCache::Outcome AdaptiveCache::access(const CacheAccess& access) {
  const BlockId block = access.block;
  admitted_ = 0;
  dropped_.clear();
  const uint8_t list = lists_.list_of(block);
  const bool hit = list == kStaging || list == kCache;
  if (access.is_write && hit) by_read_[block] = 0;
  if (hit && !(list == kStaging && access.is_write && by_worth())) {
    hits_[block] = static_cast<uint8_t>(std::min(hits_[block] + 1, int{kMostHits}));
    return {true, 0};
  }
  if (list != Lists::kNone) leave(block);  // a name, or the clean copy of what is written now
  if (by_worth())
    place_by_worth(access);
  else
    place_by_frequency(access, list == kName);
  return {hit, admitted_};
}

void AdaptiveCache::place_by_frequency(const CacheAccess& access, bool known) {
  while (full()) {
    has_evicted_ = true;
    if (lists_.size(kCache) > capacity_ - staging_blocks_ || lists_.size(kStaging) == 0)
      evict_by_frequency();
    else
      leave_staging_by_frequency();
  }
  const bool fill = !has_evicted_ && lists_.size(kStaging) >= staging_blocks_;
  hits_[access.block] = 0;
  by_read_[access.block] = access.is_write ? 0 : 1;
  if (known || fill || staging_blocks_ == 0)
    admit(access.block);
  else
    enter(kStaging, access.block);
}

void AdaptiveCache::place_by_worth(const CacheAccess& access) {
  const BlockId block = access.block;
  hits_[block] = 0;
  by_read_[block] = access.is_write ? 0 : 1;
  if (access.is_write || staging_blocks_ == 0) {
    while (full()) keep_name(least_worthy());
    admit(block);
    return;
  }
  while (lists_.size(kStaging) >= staging_blocks_) leave_staging_by_worth();
  while (full()) keep_name(least_worthy());
  enter(kStaging, block);
}

/// The oldest in staging: into the cache, or its name alone is kept.
void AdaptiveCache::leave_staging_by_frequency() {
  const BlockId block = lists_.front(kStaging);
  if (hits_[block] < kMoveAtHits) {
    keep_name(block);
    return;
  }
  leave(block);
  hits_[block] = 0;
  admit(block);
}

void AdaptiveCache::leave_staging_by_worth() {
  const BlockId block = lists_.front(kStaging);
  const bool was_full = full();
  const BlockId victim = was_full ? least_worthy() : kNoBlock;
  if (was_full && by_read_[block] != 0) {
    const bool wanted = history_.value(block) > history_.value(victim) * margin_;
    margin_ *= wanted ? 1 + kMarginStep * (1 - kAdmitShare) : 1 - kMarginStep * kAdmitShare;
    margin_ = std::max(margin_, 1.0f);
    if (!wanted) {
      keep_name(block);
      return;
    }
  }
  if (was_full) keep_name(victim);
  leave(block);
  hits_[block] = 0;
  admit(block);
}

/// S3-FIFO's main queue: the oldest goes, those read since get another round.
void AdaptiveCache::evict_by_frequency() {
  while (lists_.size(kCache) > 0) {
    const BlockId block = lists_.front(kCache);
    if (hits_[block] == 0) {
      leave(block);
      dropped_.push_back(block);
      return;
    }
    --hits_[block];
    lists_.move_to_back(kCache, block);
  }
}

BlockId AdaptiveCache::least_worthy() {
  LATTE_CHECK(!drawn_.empty());
  BlockId least = kNoBlock;
  float least_value = 0;
  for (int i = 0; i < kVictims; ++i) {
    const BlockId block = drawn_[random_.below(drawn_.size())];
    const float value = history_.value(block);
    if (least == kNoBlock || value < least_value) least = block, least_value = value;
  }
  return least;
}

void AdaptiveCache::enter(uint8_t list, BlockId block) {
  lists_.push_back(list, block);
  if (list != kCache) return;
  place_[block] = static_cast<uint32_t>(drawn_.size());
  drawn_.push_back(block);
}

void AdaptiveCache::leave(BlockId block) {
  if (lists_.list_of(block) == kCache) {
    drawn_[place_[block]] = drawn_.back();
    place_[drawn_.back()] = place_[block];
    drawn_.pop_back();
  }
  lists_.remove(block);
}

void AdaptiveCache::keep_name(BlockId block) {
  leave(block);
  if (lists_.size(kName) >= names_)
    dropped_.push_back(lists_.pop_front(kName));
  enter(kName, block);
}

void AdaptiveCache::admit(BlockId block) {
  enter(kCache, block);
  if (by_read_[block] != 0) ++admitted_;
}

}  // namespace latte::policy
