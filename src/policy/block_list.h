// BlockLists: several doubly linked lists over block ids that share one pair of link arrays; a
// block is on one list at most. 9 bytes a block, no allocation after construction, O(1) for
// everything.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "policy/cache_policy.h"

namespace latte::policy {

/// `kLists` lists, numbered from 0. Front is where blocks leave, back where they enter.
template <uint8_t kLists>
class BlockLists {
 public:
  static constexpr uint8_t kNone = 0xff;

  explicit BlockLists(uint64_t block_count)
      : prev_(block_count), next_(block_count), list_(block_count, kNone) {
    front_.fill(kNoBlock);
    back_.fill(kNoBlock);
    size_.fill(0);
  }

  /// The list a block is on, or kNone.
  uint8_t list_of(BlockId block) const { return list_[block]; }
  uint64_t size(uint8_t list) const { return size_[list]; }
  BlockId front(uint8_t list) const { return front_[list]; }

  void push_back(uint8_t list, BlockId block) {
    LATTE_CHECK(list < kLists && list_[block] == kNone);
    list_[block] = list;
    prev_[block] = back_[list];
    next_[block] = kNoBlock;
    (back_[list] == kNoBlock ? front_[list] : next_[back_[list]]) = block;
    back_[list] = block;
    ++size_[list];
  }
  void remove(BlockId block) {
    const uint8_t list = list_[block];
    LATTE_CHECK(list < kLists);
    (prev_[block] == kNoBlock ? front_[list] : next_[prev_[block]]) = next_[block];
    (next_[block] == kNoBlock ? back_[list] : prev_[next_[block]]) = prev_[block];
    list_[block] = kNone;
    --size_[list];
  }
  BlockId pop_front(uint8_t list) {
    const BlockId block = front_[list];
    LATTE_CHECK(block != kNoBlock);
    remove(block);
    return block;
  }
  void move_to_back(uint8_t list, BlockId block) {
    remove(block);
    push_back(list, block);
  }
  uint64_t memory_bytes() const { return prev_.size() * 9; }

 private:
  std::vector<BlockId> prev_;
  std::vector<BlockId> next_;
  std::vector<uint8_t> list_;
  std::array<BlockId, kLists> front_;
  std::array<BlockId, kLists> back_;
  std::array<uint64_t, kLists> size_;
};

}  // namespace latte::policy
