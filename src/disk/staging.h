// Staging: blocks that reads have fetched from the cloud for the first time, and such as the pool
// had before they were written straight to the cloud, in memory. The oldest makes room for the
// next; its disk hears of it, and whether clients came back for it. Shared by the disks of a pool.
// S3-FIFO's small queue, where it costs the drive no write.
//
// What a block holds is the disk's to vouch for: it puts in what is current, and drops what is
// written to, before that is acknowledged.
// Thread rule: the host's reactor. Memory: a block and about 90 bytes for each, once it is used.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/units.h"
#include "base/zeroed_array.h"

namespace latte {

class Staging {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    /// The block leaves; `data` is gone afterwards. Clients read it `reads` times since it came.
    virtual void unstaged(Lba lba, std::span<const std::byte> data, uint32_t reads) = 0;
  };

  explicit Staging(uint64_t capacity_blocks) : slots_(capacity_blocks), data_(capacity_blocks) {}

  bool on() const { return !slots_.empty(); }
  /// The block as it was put in, or null. A client reads it: that counts.
  const std::byte* read(Owner& owner, Lba lba);
  /// Takes a block; one that is there already stays as it is. REQUIRES on().
  void put(Owner& owner, Lba lba, std::span<const std::byte> data);
  /// Forgets what it has of these blocks.
  void drop(Owner& owner, Lba lba, uint64_t count);
  uint64_t held_blocks() const { return places_.size(); }

 private:
  struct Slot {
    Owner* owner = nullptr;  // null: empty
    Lba lba;
    uint32_t reads = 0;
  };
  struct Key {
    const Owner* owner;
    uint64_t lba;
    bool operator==(const Key&) const = default;
  };
  struct HashOf {
    size_t operator()(const Key& key) const {
      const auto owner = reinterpret_cast<uintptr_t>(key.owner);
      return (key.lba + owner) * 0x9e3779b97f4a7c15ull >> 20;
    }
  };

  void forget(Slot& slot);

  std::vector<Slot> slots_;
  ZeroedArray<std::array<std::byte, kBlockBytes>> data_;  // of each slot
  std::unordered_map<Key, size_t, HashOf> places_;
  size_t hand_ = 0;  // the oldest, next to leave
};

}  // namespace latte
