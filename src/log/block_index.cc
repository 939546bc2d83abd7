#include "log/block_index.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace latte {
namespace {
constexpr uint32_t kFirstCapacity = 8;
}

BlockIndex::BlockIndex(uint64_t block_count)
    : regions_((block_count + kRegionBlocks - 1) / kRegionBlocks) {
  memory_bytes_ = regions_.size() * sizeof(Region);
}

void BlockIndex::grow(uint64_t block_count) {
  const size_t regions = (block_count + kRegionBlocks - 1) / kRegionBlocks;
  LATTE_CHECK(regions >= regions_.size());
  memory_bytes_ += (regions - regions_.size()) * sizeof(Region);
  regions_.resize(regions);
}

uint32_t BlockIndex::locate(const Region& region, uint16_t key) const {
  if (region.used == 0) return region.capacity;
  uint32_t at = home(key, region.capacity);
  while (region.slots[at] != kFree) {
    if (region.slots[at] >> 48 == key) return at;
    if (maps_directly(region)) break;
    if (++at == region.capacity) at = 0;
  }
  return region.capacity;
}

uint64_t BlockIndex::set(Lba lba, uint64_t address) {
  LATTE_CHECK(address < kNone);
  LATTE_CHECK(lba.value >> kRegionShift < regions_.size());
  Region& region = regions_[lba.value >> kRegionShift];
  const auto key = static_cast<uint16_t>(lba.value);
  const uint64_t slot = (uint64_t{key} << 48) | address;
  const uint32_t found = locate(region, key);
  if (found < region.capacity) return std::exchange(region.slots[found], slot) & kAddressMask;
  // 90 % load at most, until the table has a slot for every key.
  if ((region.used + 1) * 10ull > region.capacity * 9ull && region.capacity < kRegionBlocks)
    grow(region);
  uint32_t at = home(key, region.capacity);
  while (region.slots[at] != kFree) at = at + 1 == region.capacity ? 0 : at + 1;
  region.slots[at] = slot;
  ++region.used;
  ++size_;
  return kNone;
}

uint64_t BlockIndex::erase(Lba lba) {
  Region& region = regions_[lba.value >> kRegionShift];
  const uint32_t at = locate(region, static_cast<uint16_t>(lba.value));
  if (at >= region.capacity) return kNone;
  const uint64_t address = region.slots[at] & kAddressMask;
  remove_slot(region, at);
  return address;
}

bool BlockIndex::erase_if(Lba lba, uint64_t address) {
  if (find(lba) != address) return false;
  erase(lba);
  return true;
}

bool BlockIndex::any_in(Lba first, uint64_t count) const {
  const uint64_t end = first.value + count;
  for (uint64_t lba = first.value; lba < end;) {
    const uint64_t region_start = round_down(lba, kRegionBlocks);
    const uint64_t stop = std::min(end, region_start + kRegionBlocks);
    const Region& region = regions_[lba >> kRegionShift];
    if (region.used > 0 && stop - lba == kRegionBlocks) return true;
    for (; region.used > 0 && lba < stop; ++lba)
      if (find(Lba(lba)) != kNone) return true;
    lba = stop;
  }
  return false;
}

void BlockIndex::remove_slot(Region& region, uint32_t at) {
  region.slots[at] = kFree;
  uint32_t next = at;
  // Backward-shift deletion: no tombstones, so probe lengths never degrade.
  while (!maps_directly(region)) {
    next = next + 1 == region.capacity ? 0 : next + 1;
    const uint64_t slot = region.slots[next];
    if (slot == kFree) break;
    const uint32_t wanted = home(static_cast<uint16_t>(slot >> 48), region.capacity);
    const bool movable =
        at <= next ? (wanted <= at || wanted > next) : (wanted <= at && wanted > next);
    if (!movable) continue;
    region.slots[at] = slot;
    region.slots[next] = kFree;
    at = next;
  }
  --region.used;
  --size_;
  if (region.used == 0) {
    memory_bytes_ -= region.capacity * sizeof(uint64_t);
    region.slots.reset();
    region.capacity = 0;
  }
}

void BlockIndex::grow(Region& region) {
  const uint32_t wanted = std::max(kFirstCapacity, region.capacity + region.capacity / 8 + 1);
  const uint32_t capacity = std::min(wanted, kRegionBlocks);
  auto slots = std::make_unique<uint64_t[]>(capacity);
  std::fill_n(slots.get(), capacity, kFree);
  for (uint32_t i = 0; i < region.capacity; ++i) {
    if (region.slots[i] == kFree) continue;
    uint32_t at = home(static_cast<uint16_t>(region.slots[i] >> 48), capacity);
    while (slots[at] != kFree) at = at + 1 == capacity ? 0 : at + 1;
    slots[at] = region.slots[i];
  }
  memory_bytes_ += (capacity - region.capacity) * sizeof(uint64_t);
  region.slots = std::move(slots);
  region.capacity = capacity;
}

}  // namespace latte
