// Belady's rule with bypass: of the cache's blocks and the new one, what is read furthest in the
// future goes. It knows the future, so it is a bound and no policy one could run.
#pragma once

#include <set>
#include <utility>
#include <vector>

#include "policy/cache_policy.h"

namespace latte::policy {

class BeladyPolicy final : public CachePolicy {
 public:
  explicit BeladyPolicy(const CacheOptions& options);
  uint64_t memory_bytes() const override { return (next_.size() + held_.size()) * 8; }

 private:
  bool touch(const CacheAccess& access) override;

  static constexpr uint64_t kNever = UINT64_MAX;
  uint64_t capacity_;
  std::vector<uint64_t> next_;  // by access: when its block is accessed again
  std::vector<uint64_t> held_;  // by block: its key in order_, 0 if it is not in the cache
  std::set<std::pair<uint64_t, BlockId>> order_;  // next access, soonest first
  uint64_t now_ = 0;
};

}  // namespace latte::policy
