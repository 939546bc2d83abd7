#include "frontend/packed_inflight.h"

#include <algorithm>

#include "base/check.h"
#include "frontend/ring_access.h"

namespace latte::vhost {
namespace {

Error damaged() { return {Errc::damaged, "the inflight region is damaged"}; }

}  // namespace

void PackedInflight::init(PackedPosition used) {
  InflightPackedHeader* header = region_.header();
  for (uint32_t i = 0; i < size_; ++i) {
    store_once(&region_.entry(i)->inflight, uint8_t{0});
    // The last one names no entry: the end of the list.
    store_once(&region_.entry(i)->next, static_cast<uint16_t>(i + 1));
  }
  store_once(&header->desc_num, static_cast<uint16_t>(size_));
  store_once(&header->free_head, uint16_t{0});
  store_once(&header->old_free_head, uint16_t{0});
  store_once(&header->used_idx, used.index);
  store_once(&header->old_used_idx, used.index);
  store_once(&header->used_wrap_counter, static_cast<uint8_t>(used.wrap));
  store_once(&header->old_used_wrap_counter, static_cast<uint8_t>(used.wrap));
  store_release(&header->version, kInflightVersion);
}

Result<void> PackedInflight::open(PackedPosition used) {
  InflightPackedHeader* header = region_.header();
  const Result<void> room = queue_.check_room(size_);
  if (!room) return room;
  next_free_.resize(size_);
  last_of_.resize(size_);
  if (load_once(&header->version) == 0) init(used);
  if (load_once(&header->version) != kInflightVersion) return damaged();

  old_used_ = {load_once(&header->old_used_idx), load_once(&header->old_used_wrap_counter) != 0};
  new_used_ = {load_once(&header->used_idx), load_once(&header->used_wrap_counter) != 0};
  if (old_used_.index >= size_ || new_used_.index >= size_) return damaged();
  return {};
}

// The section "Inflight I/O tracking", packed virtqueues, "When reconnecting".
Result<void> PackedInflight::recover(bool published) {
  InflightPackedHeader* header = region_.header();
  const PackedPosition used = published ? new_used_ : old_used_;
  free_head_ = load_once(published ? &header->free_head : &header->old_free_head);
  store_once(&header->old_free_head, free_head_);
  store_once(&header->free_head, free_head_);
  store_once(&header->old_used_idx, used.index);
  store_once(&header->used_idx, used.index);
  store_once(&header->old_used_wrap_counter, static_cast<uint8_t>(used.wrap));
  store_release(&header->used_wrap_counter, static_cast<uint8_t>(used.wrap));
  return read_lists();
}

/// Copies the free list, and finds what is in none: that is under way.
Result<void> PackedInflight::read_lists() {
  std::vector<uint8_t> seen(size_, 0);
  uint16_t entry = free_head_;
  for (uint32_t i = 0; entry < size_; ++i) {
    if (i == size_ || seen[entry] != 0) return damaged();
    seen[entry] = 1;
    store_once(&region_.entry(entry)->inflight, uint8_t{0});
    next_free_[entry] = load_once(&region_.entry(entry)->next);
    entry = next_free_[entry];
  }
  struct Found {
    uint64_t counter;
    uint16_t first;
  };
  std::vector<Found> found;
  for (uint32_t i = 0; i < size_; ++i) {
    if (load_once(&region_.entry(i)->inflight) == 0) continue;
    found.push_back({load_once(&region_.entry(i)->counter), static_cast<uint16_t>(i)});
    const uint16_t entries = load_once(&region_.entry(i)->num);
    uint16_t at = static_cast<uint16_t>(i);
    for (uint32_t taken = 0; taken < entries; ++taken) {
      if (at >= size_ || seen[at] != 0) return damaged();
      seen[at] = 1;
      last_of_[i] = at;
      next_free_[at] = load_once(&region_.entry(at)->next);
      at = next_free_[at];
    }
    if (entries == 0) return damaged();
    recovered_entries_ += entries;
  }
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.counter < b.counter; });
  for (const Found& one : found) {
    unfinished_.push_back(one.first);
    counter_ = one.counter + 1;
  }
  return {};
}

bool PackedInflight::take_unfinished(uint16_t& first) {
  if (unfinished_.empty()) return false;
  first = unfinished_.front();
  unfinished_.pop_front();
  return true;
}

Descriptor PackedInflight::descriptor(uint16_t entry) const {
  LATTE_CHECK(has(entry));
  const InflightPackedEntry* copy = region_.entry(entry);
  return {load_once(&copy->addr), load_once(&copy->len), load_once(&copy->flags),
          load_once(&copy->id)};
}

/// "When receiving available buffers from the driver".
uint16_t PackedInflight::track(const Descriptor* descriptors, uint32_t count) {
  InflightPackedHeader* header = region_.header();
  const uint16_t first = free_head_;
  // There is one entry for each of the ring's, so there is a free one.
  LATTE_CHECK(count > 0 && has(first));
  InflightPackedEntry* head = region_.entry(first);
  uint16_t entry = first;
  for (uint32_t i = 0; i < count; ++i) {
    LATTE_CHECK(has(entry));
    InflightPackedEntry* copy = region_.entry(entry);
    store_once(&copy->addr, descriptors[i].address);
    store_once(&copy->len, descriptors[i].length);
    store_once(&copy->flags, descriptors[i].flags);
    store_once(&copy->id, descriptors[i].next);
    last_of_[first] = entry;
    entry = next_free_[entry];
  }
  store_once(&head->num, static_cast<uint16_t>(count));
  store_once(&head->last, last_of_[first]);
  store_once(&head->counter, counter_++);
  store_release(&head->inflight, uint8_t{1});
  free_head_ = entry;
  store_release(&header->free_head, entry);
  store_release(&header->old_free_head, entry);
  return first;
}

/// Puts a buffer's entries in front of the free list.
void PackedInflight::give_back(uint16_t first) {
  const uint16_t last = last_of_[first];
  next_free_[last] = free_head_;
  store_once(&region_.entry(last)->next, free_head_);
  free_head_ = first;
  store_release(&region_.header()->free_head, free_head_);
}

void PackedInflight::set_used(PackedPosition used) {
  store_once(&region_.header()->used_idx, used.index);
  store_release(&region_.header()->used_wrap_counter, static_cast<uint8_t>(used.wrap));
}

/// The batch is with the driver: the state before it is forgotten.
void PackedInflight::settle(PackedPosition used) {
  InflightPackedHeader* header = region_.header();
  store_release(&header->old_free_head, free_head_);
  store_release(&header->old_used_idx, used.index);
  store_release(&header->old_used_wrap_counter, static_cast<uint8_t>(used.wrap));
}

}  // namespace latte::vhost
