// ARC (Megiddo and Modha, FAST '03): two LRU lists, blocks seen once and blocks seen more often,
// whose sizes follow the hits in what each of them dropped.
#pragma once

#include "policy/block_list.h"
#include "policy/cache_policy.h"

namespace latte::policy {

class ArcPolicy final : public CachePolicy {
 public:
  explicit ArcPolicy(const CacheOptions& options)
      : capacity_(options.capacity_blocks), lists_(options.block_count) {}
  uint64_t memory_bytes() const override { return lists_.memory_bytes(); }

 private:
  enum : uint8_t { kOnce, kOften, kOnceGhost, kOftenGhost };
  bool touch(const CacheAccess& access) override;
  void replace(bool in_often_ghost);
  void make_room();

  uint64_t capacity_;
  BlockLists<4> lists_;
  uint64_t target_ = 0;  // wanted size of kOnce: the paper's p
};

}  // namespace latte::policy
