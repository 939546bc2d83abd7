// The simple policies that others are measured against: FIFO, LRU, second miss.
#pragma once

#include <vector>

#include "policy/block_list.h"
#include "policy/cache_policy.h"

namespace latte::policy {

/// Everything is admitted; the oldest, or the least recently used, goes.
class QueuePolicy final : public CachePolicy {
 public:
  enum class Order { fifo, lru };
  QueuePolicy(const CacheOptions& options, Order order)
      : capacity_(options.capacity_blocks), order_(order), lists_(options.block_count) {}
  uint64_t memory_bytes() const override { return lists_.memory_bytes(); }

 private:
  bool touch(const CacheAccess& access) override;

  uint64_t capacity_;
  Order order_;
  BlockLists<1> lists_;
};

/// A read that misses leaves metadata only; the block is admitted when it misses a second time
/// while that is remembered. As many are remembered as the cache holds blocks. In the cache the
/// oldest goes; one that was used since gets another round for each use, up to kMostRounds.
class SecondMissPolicy final : public CachePolicy {
 public:
  explicit SecondMissPolicy(const CacheOptions& options)
      : capacity_(options.capacity_blocks),
        lists_(options.block_count),
        rounds_(options.block_count) {}
  uint64_t memory_bytes() const override { return lists_.memory_bytes() + rounds_.size(); }

 private:
  enum : uint8_t { kCache, kGhost };
  static constexpr uint8_t kMostRounds = 3;
  bool touch(const CacheAccess& access) override;
  void make_room();

  uint64_t capacity_;
  BlockLists<2> lists_;
  std::vector<uint8_t> rounds_;  // still due to each block
};

}  // namespace latte::policy
