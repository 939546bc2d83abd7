// CachePolicy: which blocks a cache of a given size holds, as a pure function of the accesses so
// far. The policies of `latte replay`'s cache-only mode; the engine uses GittinsPolicy's decisions.
//
// Blocks are numbers 0 .. block_count-1, in order of first access: the caller keeps the map, so
// that ten policies side by side don't keep it ten times. A write always goes into the cache (the
// pool's log has it); a read that misses may be admitted or not.
// Thread rule: an object belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace latte::policy {

using BlockId = uint32_t;
inline constexpr BlockId kNoBlock = UINT32_MAX;

/// One block of a request.
struct CacheAccess {
  BlockId block = 0;
  bool is_write = false;
  bool is_sequential = false;  ///< follows the block that was accessed before it
  /// Of the request that it is a part of, rounded up; UINT16_MAX: that many or more.
  uint16_t request_blocks = 1;
};

struct CacheCounts {
  uint64_t reads = 0;      ///< blocks read
  uint64_t read_hits = 0;  ///< of them found in the cache
  uint64_t writes = 0;     ///< blocks written by clients
  uint64_t admitted = 0;   ///< blocks written to the cache because reads missed them
  double hit_ratio() const {
    return reads == 0 ? 0 : static_cast<double>(read_hits) / static_cast<double>(reads);
  }
};

class CachePolicy {
 public:
  virtual ~CachePolicy() = default;
  /// Takes the next access; true if the block was in the cache.
  bool access(const CacheAccess& access) {
    const bool hit = touch(access);
    if (access.is_write)
      ++counts_.writes;
    else
      ++counts_.reads, counts_.read_hits += hit ? 1 : 0;
    return hit;
  }
  const CacheCounts& counts() const { return counts_; }
  /// Memory of the policy's own state, in bytes.
  virtual uint64_t memory_bytes() const = 0;

 protected:
  virtual bool touch(const CacheAccess& access) = 0;
  void count_admitted() { ++counts_.admitted; }

 private:
  CacheCounts counts_;
};

struct CacheOptions {
  uint64_t capacity_blocks = 1;  ///< at least 1
  uint64_t block_count = 1;      ///< at least 1, below kNoBlock
  uint64_t seed = 1;
  std::span<const CacheAccess>
      future{};  ///< all accesses to come: for belady only; outlives the policy
};

/// Names that make_cache_policy() takes, in the order tables show them.
inline constexpr std::string_view kCachePolicyNames[] = {"fifo",        "lru",    "arc", "s3fifo",
                                                         "second-miss", "belady", "ours"};
/// A policy of that name, or null if there is none.
std::unique_ptr<CachePolicy> make_cache_policy(std::string_view name, const CacheOptions& options);

}  // namespace latte::policy
