// ShadowLog: what a pool's log would hold of a sample of the accesses, in names alone. Written
// blocks and those whose name is known go to the head; the oldest is dropped, or, read `bar` times
// since it was written, gets another round. As in the log itself, what was overwritten takes room
// until its turn comes.
// Thread rule: an object belongs to one thread. Memory: about 100 bytes a block of the capacity.
// No allocation once it has been full.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <unordered_map>
#include <utility>
#include <vector>

namespace latte::policy {

class ShadowLog {
 public:
  /// Room for `blocks`, at least 1, and as many names of blocks that were missed once. `bar`: 1 to
  /// kMostReads.
  ShadowLog(uint64_t blocks, uint8_t bar);

  /// Is the block there?
  bool read(uint64_t key);
  void write(uint64_t key);
  /// Blocks that got another round since the last call.
  uint64_t take_rewritten();
  uint64_t memory_bytes() const;

  /// Reads are counted up to here.
  static constexpr uint8_t kMostReads = 3;

 private:
  struct Block {
    uint64_t place;  // in log or names, counted from the beginning
    uint8_t reads;
    bool cached;  // else its name is known
  };
  /// The last `size` that were pushed.
  struct Ring {
    explicit Ring(uint64_t size) : keys(size) {}
    uint64_t& at(uint64_t place) { return keys[place % keys.size()]; }
    bool full() const { return end >= keys.size(); }
    uint64_t front() const { return end - keys.size(); }  // where the next one goes

    std::vector<uint64_t> keys;
    uint64_t end = 0;
  };
  using Blocks = std::pmr::unordered_map<uint64_t, Block>;

  void append(uint64_t key);
  void keep_name(uint64_t key);

  uint8_t bar_;
  std::pmr::unsynchronized_pool_resource memory_;
  Blocks blocks_;
  Ring log_;
  Ring names_;
  uint64_t rewritten_ = 0;
};

}  // namespace latte::policy
