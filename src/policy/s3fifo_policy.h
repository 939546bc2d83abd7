// S3-FIFO (Yang and others, SOSP '23): a small queue for what is new, a main queue in which what
// was read again gets another round, and a queue of names of what left the small one unread.
//
// As its authors' simulator has it: a block moves from the small to the main queue at its second
// hit there. The small queue is memory here: a block counts as written to the cache when it
// enters the main one because of a read; rounds within it are not counted.
#pragma once

#include <vector>

#include "policy/block_list.h"
#include "policy/cache_policy.h"

namespace latte::policy {

class S3FifoPolicy final : public CachePolicy {
 public:
  explicit S3FifoPolicy(const CacheOptions& options);
  uint64_t memory_bytes() const override { return lists_.memory_bytes() + 2 * hits_.size(); }

 private:
  enum : uint8_t { kSmall, kMain, kGhost };
  static constexpr uint64_t kSmallShare = 10;
  static constexpr uint8_t kMoveAtHits = 2;
  static constexpr uint8_t kMostHits = 3;

  bool touch(const CacheAccess& access) override;
  void evict();
  void evict_from_small();
  void evict_from_main();

  uint64_t small_blocks_;
  uint64_t main_blocks_;
  BlockLists<3> lists_;
  std::vector<uint8_t> hits_;
  std::vector<uint8_t> by_read_;  // it came with a read
};

}  // namespace latte::policy
