// "ours": an AdaptiveCache whose mode is the one that does best on a sample.
//
// One block in kSampleShare, by a hash of its number, is also run through one small AdaptiveCache
// per mode. What they hit, fading over a few times the cache's size, decides (Rivals). So no mode
// is followed for long where it is the wrong one: S3-FIFO's rules serve where frequency decides,
// worth where loops, scans or written data do. Costs beside the cache itself: three times a
// sixteenth. Thread rule: an object belongs to one thread.
#pragma once

#include <array>
#include <memory>

#include "policy/adaptive_cache.h"
#include "policy/block_history.h"
#include "policy/cache_policy.h"
#include "policy/rivals.h"

namespace latte::policy {

class AdaptivePolicy final : public CachePolicy {
 public:
  explicit AdaptivePolicy(const CacheOptions& options);
  uint64_t memory_bytes() const override;

 private:
  static constexpr uint64_t kSampleShare = 16;
  static constexpr uint64_t kLeastSample = 512;  // blocks of a small cache's capacity
  static constexpr size_t kFirstMode = 0;
  static constexpr uint64_t kLooks = 16;  // at the score, while as many accesses as blocks go by

  bool touch(const CacheAccess& access) override;
  void sample(const CacheAccess& access);

  BlockHistory history_;
  uint64_t sample_share_;
  uint64_t hash_key_;
  AdaptiveCache cache_;
  std::array<std::unique_ptr<AdaptiveCache>, kCacheModes.size()> small_;
  Rivals<kCacheModes.size()> modes_{kFirstMode};  // by the hits of each small cache
  uint64_t look_every_;
  uint64_t until_look_;
};

}  // namespace latte::policy
