// AdaptiveCache: a staging queue in memory, a cache, and names of what left either, run by one of
// kCacheModes. The mode can be changed at any time: it only decides what enters and what leaves.
//
// A read that misses puts its block into the staging queue, which costs no write. When it leaves
// that, it is admitted - written to the cache - or its name alone is kept.
//   - kinds `frequency`: S3-FIFO's rules. Two reads in staging, or a read while the name is kept,
//     admit; in the cache, blocks that were read get another round.
//   - kind `worth`: a block is admitted if it is worth more (BlockHistory) than the least worthy of
//     kVictims blocks drawn from the cache, by a margin that keeps admissions at kAdmitShare of the
//     misses; that one leaves.
// Thread rule: an object belongs to one thread.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "policy/block_history.h"
#include "policy/block_list.h"
#include "policy/cache_policy.h"

namespace latte::policy {

struct CacheMode {
  enum class Kind : uint8_t { frequency, worth };
  Kind kind;
  uint64_t staging_per_mille;  ///< of the capacity
};
inline constexpr std::array kCacheModes = {
    CacheMode{CacheMode::Kind::frequency, 100},
    CacheMode{CacheMode::Kind::frequency, 15},
    CacheMode{CacheMode::Kind::worth, 15},
};

class AdaptiveCache {
 public:
  /// `history` is kept up to date by the owner: it has observed an access before access() gets it.
  AdaptiveCache(const BlockHistory& history, uint64_t capacity_blocks, uint64_t block_count,
                size_t mode, uint64_t seed);

  struct Outcome {
    bool hit = false;
    uint32_t admitted = 0;  ///< blocks written to the cache because of reads
  };
  Outcome access(const CacheAccess& access);
  void set_mode(size_t mode);
  /// Is the block in staging or cache, or its name kept?
  bool knows(BlockId block) const { return lists_.list_of(block) != Lists::kNone; }
  /// Blocks that nothing is known of any more since the last access().
  const std::vector<BlockId>& dropped() const { return dropped_; }
  uint64_t memory_bytes() const { return lists_.memory_bytes() + place_.size() * 10; }

 private:
  enum : uint8_t { kStaging, kCache, kName };
  using Lists = BlockLists<3>;
  // Of the capacity. S3-FIFO has as many as its main queue holds; fewer cost fewer admissions, and
  // on most traces some hits are won: what comes back later than that chases out what is better.
  static constexpr uint64_t kNamesPerMille = 800;
  static constexpr int kVictims = 32;
  static constexpr float kAdmitShare = 0.37f;
  static constexpr float kMarginStep = 0.01f;
  static constexpr uint64_t kLeastStaged = 8;  // a smaller cache has no staging
  static constexpr uint8_t kMoveAtHits = 2;
  static constexpr uint8_t kMostHits = 3;

  bool full() const { return lists_.size(kStaging) + lists_.size(kCache) >= capacity_; }
  bool by_worth() const { return kCacheModes[mode_].kind == CacheMode::Kind::worth; }
  void place_by_frequency(const CacheAccess& access, bool known);
  void place_by_worth(const CacheAccess& access);
  void leave_staging_by_frequency();
  void leave_staging_by_worth();
  void evict_by_frequency();
  BlockId least_worthy();
  void enter(uint8_t list, BlockId block);
  void leave(BlockId block);
  void keep_name(BlockId block);
  void admit(BlockId block);

  const BlockHistory& history_;
  uint64_t capacity_;
  uint64_t names_;  // kept at most
  size_t mode_;
  uint64_t staging_blocks_ = 0;
  Lists lists_;
  std::vector<uint8_t> hits_;
  std::vector<uint8_t> by_read_;  // it came with a read, and was not written since
  std::vector<BlockId> drawn_;    // the cache's blocks, in no order
  std::vector<uint32_t> place_;   // of each in drawn_
  Random random_;
  float margin_ = 1;
  uint32_t admitted_ = 0;
  std::vector<BlockId> dropped_;
  bool has_evicted_ = false;
};

}  // namespace latte::policy
