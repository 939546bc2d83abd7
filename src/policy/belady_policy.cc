#include "policy/belady_policy.h"

#include <iterator>

#include "base/check.h"

namespace latte::policy {

BeladyPolicy::BeladyPolicy(const CacheOptions& options)
    : capacity_(options.capacity_blocks), next_(options.future.size()), held_(options.block_count) {
  std::vector<uint64_t> next_of(options.block_count, kNever);
  for (size_t i = options.future.size(); i-- > 0;) {
    const CacheAccess& access = options.future[i];
    next_[i] = next_of[access.block];
    // What is written again before it is read is of no use until then.
    next_of[access.block] = access.is_write ? kNever : i + 1;
  }
}

bool BeladyPolicy::touch(const CacheAccess& access) {
  LATTE_CHECK(now_ < next_.size());
  const uint64_t next = next_[now_++];
  const bool hit = held_[access.block] != 0;
  if (hit) order_.erase({held_[access.block], access.block});
  held_[access.block] = 0;
  if (next == kNever) return hit;
  if (order_.size() == capacity_) {
    const auto furthest = std::prev(order_.end());
    if (furthest->first < next) return hit;
    held_[furthest->second] = 0;
    order_.erase(furthest);
  }
  held_[access.block] = next;
  order_.emplace(next, access.block);
  if (!hit && !access.is_write) count_admitted();
  return hit;
}

}  // namespace latte::policy
