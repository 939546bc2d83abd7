// BlockIndex: where a block's newest copy lies. lba -> 48-bit block address, at 8 bytes a slot.
//
// The address space is cut into regions of 65,536 blocks (256 MiB); each region has an
// open-addressing table of its own whose slots hold 16 bits of the lba and 48 bits of the address.
// Tables grow by an eighth at 90 % load, so an indexed block costs 8.9 to 10.1 bytes, and growing
// moves at most 65,536 slots at a time (about 0.3 ms), never the whole index.
//
// Invariants: 1. A table has at least one free slot unless it is full size (then it maps directly).
// Thread rule: one reactor. Memory: only for regions that hold something, plus 16 bytes a region.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/units.h"

namespace latte {

class BlockIndex {
 public:
  /// Address of "not here".
  static constexpr uint64_t kNone = (1ull << 48) - 1;

  /// For a disk of `block_count` blocks.
  explicit BlockIndex(uint64_t block_count);
  /// For one of more blocks from now on.
  void grow(uint64_t block_count);

  /// The address stored for `lba`, or kNone.
  uint64_t find(Lba lba) const {
    const Region& region = regions_[lba.value >> kRegionShift];
    if (region.used == 0) return kNone;
    const auto key = static_cast<uint16_t>(lba.value);
    for (uint32_t at = home(key, region.capacity);; at = at + 1 == region.capacity ? 0 : at + 1) {
      const uint64_t slot = region.slots[at];
      if (slot == kFree) return kNone;
      if (slot >> 48 == key) return slot & kAddressMask;
      if (maps_directly(region)) return kNone;
    }
  }
  /// Stores `address` (below kNone) for `lba`. Returns the former address, or kNone.
  uint64_t set(Lba lba, uint64_t address);
  /// Forgets `lba`. Returns the former address, or kNone.
  uint64_t erase(Lba lba);
  /// Forgets `lba` if it is at `address`; returns whether it was.
  bool erase_if(Lba lba, uint64_t address);

  /// Calls `visit(Lba, address)` for each indexed block in [first, first + count) and forgets it.
  template <typename Visit>
  void erase_range(Lba first, uint64_t count, Visit&& visit);
  /// True if any block of [first, first + count) is indexed.
  bool any_in(Lba first, uint64_t count) const;
  /// Calls `visit(Lba, address)` for every indexed block, in no particular order.
  template <typename Visit>
  void for_each(Visit&& visit) const;

  /// Blocks indexed.
  uint64_t size() const { return size_; }
  /// Bytes of memory held.
  uint64_t memory_bytes() const { return memory_bytes_; }

 private:
  static constexpr unsigned kRegionShift = 16;
  static constexpr uint32_t kRegionBlocks = 1u << kRegionShift;
  static constexpr uint64_t kAddressMask = (1ull << 48) - 1;
  static constexpr uint64_t kFree = ~0ull;  // key 0xffff with address kNone: never stored

  struct Region {
    std::unique_ptr<uint64_t[]> slots;
    uint32_t capacity = 0;
    uint32_t used = 0;
  };

  /// Spreads the 16-bit key (odd multiplier: a bijection) over [0, capacity).
  static uint32_t home(uint16_t key, uint32_t capacity) {
    const auto mixed = static_cast<uint16_t>(key * 40503u);
    return static_cast<uint32_t>((uint64_t{mixed} * capacity) >> 16);
  }
  /// A slot for every key, each at its home: nothing is looked for or moved beyond it.
  static bool maps_directly(const Region& region) { return region.capacity == kRegionBlocks; }
  void grow(Region& region);
  void remove_slot(Region& region, uint32_t at);
  uint32_t locate(const Region& region, uint16_t key) const;

  std::vector<Region> regions_;
  uint64_t size_ = 0;
  uint64_t memory_bytes_ = 0;
};

template <typename Visit>
void BlockIndex::erase_range(Lba first, uint64_t count, Visit&& visit) {
  const uint64_t end = first.value + count;
  for (uint64_t lba = first.value; lba < end;) {
    const uint64_t region_end = round_down(lba, kRegionBlocks) + kRegionBlocks;
    const uint64_t stop = end < region_end ? end : region_end;
    Region& region = regions_[lba >> kRegionShift];
    if (region.used != 0 && stop - lba < region.capacity) {
      for (; lba < stop; ++lba) {
        const uint64_t address = erase(Lba(lba));
        if (address != kNone) visit(Lba(lba), address);
      }
    } else if (region.used != 0) {
      // Collect first: removing a slot shifts its neighbours.
      std::vector<uint64_t> keys;
      for (uint32_t at = 0; at < region.capacity; ++at) {
        if (region.slots[at] == kFree) continue;
        const uint64_t block = round_down(lba, kRegionBlocks) + (region.slots[at] >> 48);
        if (block >= lba && block < stop) keys.push_back(block);
      }
      for (const uint64_t block : keys) visit(Lba(block), erase(Lba(block)));
    }
    lba = stop;
  }
}

template <typename Visit>
void BlockIndex::for_each(Visit&& visit) const {
  for (size_t r = 0; r < regions_.size(); ++r) {
    const Region& region = regions_[r];
    for (uint32_t at = 0; at < region.capacity; ++at) {
      const uint64_t slot = region.slots[at];
      if (slot != kFree) visit(Lba((r << kRegionShift) + (slot >> 48)), slot & kAddressMask);
    }
  }
}

}  // namespace latte
