// BlockHistory: what is remembered of a block's past - its last access and its class - and what
// that makes it worth now.
//
// Classes: what happened last - written first, after being read, or over and over; read first,
// alone or in a stream; read after a write; read again, by how often (six steps, by powers of two)
// and after how long (four steps around the cache's size) - each by the length of that request
// (five steps, by powers of four): a database's log, its pages and its backup, a guest's paging and
// its files differ in that before anything else is known of a block. 6 bytes a block. Thread rule:
// an object belongs to one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "policy/cache_policy.h"
#include "policy/reuse_model.h"

namespace latte::policy {

class BlockHistory {
 public:
  explicit BlockHistory(const CacheOptions& options)
      : capacity_(options.capacity_blocks),
        model_(options.capacity_blocks),
        last_(options.block_count),
        class_(options.block_count, kForgotten),
        reads_(options.block_count) {}

  /// Takes an access; the block's age is 0 then.
  void observe(const CacheAccess& access);
  /// The block is as one never seen.
  void forget(BlockId block) { class_[block] = kForgotten; }
  /// What the block is worth now; nothing if it is forgotten.
  float value(BlockId block) const {
    return class_[block] == kForgotten ? 0 : model_.value(class_[block], age(block));
  }
  uint64_t memory_bytes() const { return last_.size() * 6 + sizeof(*this); }

 private:
  enum : uint8_t {
    kFirstWrite,
    kWriteAfterRead,
    kWriteAgain,
    kFirstRead,
    kFirstReadInStream,
    kReadAfterWrite,
    kReadAgain,  // and what follows, up to kEvents
    kEvents = 30,
    kForgotten = 0xff,
  };
  static constexpr uint32_t kIntervalSteps = 4;
  static constexpr uint32_t kLengthSteps = 5;
  static_assert(kEvents * kLengthSteps == kReuseClasses && kReuseClasses <= kForgotten);
  static constexpr uint8_t kMostReads = 63;

  // Times wrap around after 2^32 accesses; so do their differences.
  uint64_t age(BlockId block) const { return now_ - last_[block]; }
  uint8_t last_event(BlockId block) const { return class_[block] / kLengthSteps; }
  uint8_t read_event(const CacheAccess& access);

  uint64_t capacity_;
  ReuseModel model_;
  std::vector<uint32_t> last_;
  std::vector<uint8_t> class_;
  std::vector<uint8_t> reads_;  // since it was written or first read, up to kMostReads
  uint32_t now_ = 0;
};

}  // namespace latte::policy
