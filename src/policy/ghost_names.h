// GhostNames: which blocks were missed lately, two bytes a name. S3-FIFO's ghost queue, as far as a
// server of terabytes can afford one: a block missed once leaves its name here and nothing else.
//
// Names are 16 bits of a hash, in buckets of 15 that are filled round and round: per bucket the
// oldest name goes first. A lookup compares 15 names, so one in 4,400 finds a name that was never
// kept; that costs a copy nobody needed, nothing else.
// Thread rule: an object belongs to one thread. Memory: 32 bytes for 15 names, once they are used.
#pragma once

#include <cstdint>

#include "base/zeroed_array.h"

namespace latte::policy {

class GhostNames {
 public:
  /// Room for at least `names` names.
  explicit GhostNames(uint64_t names);

  /// Keeps the name of `key`. It must not be kept already.
  void keep(uint64_t key);
  /// Was the name of `key` kept? If so, it is not any more.
  bool take(uint64_t key);

  uint64_t capacity() const { return buckets_.size() * kBucketNames; }
  uint64_t memory_bytes() const { return buckets_.size() * sizeof(Bucket); }

 private:
  static constexpr uint64_t kBucketNames = 15;
  struct Bucket {
    uint16_t names[kBucketNames];  // 0: none
    uint16_t hand;                 // the next to be replaced
  };
  static_assert(sizeof(Bucket) == 32, "two buckets a cache line");

  struct Place {
    Bucket& bucket;
    uint16_t name;
  };
  Place place_of(uint64_t key);

  ZeroedArray<Bucket> buckets_;
};

}  // namespace latte::policy
