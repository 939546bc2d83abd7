#include "frontend/packed_ring.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include "base/check.h"
#include "frontend/ring_access.h"

namespace latte::vhost {
namespace {

constexpr uint16_t kAvailable = 1u << VRING_PACKED_DESC_F_AVAIL;
constexpr uint16_t kUsed = 1u << VRING_PACKED_DESC_F_USED;
constexpr uint16_t kWrap = 1u << VRING_PACKED_EVENT_F_WRAP_CTR;
constexpr uint16_t kIndexMask = kWrap - 1;

uint16_t used_flags(bool wrap, uint32_t written) {
  const auto marks = static_cast<uint16_t>(wrap ? kAvailable | kUsed : 0);
  return static_cast<uint16_t>(marks | (written > 0 ? VRING_DESC_F_WRITE : 0));
}

}  // namespace

Result<std::unique_ptr<Virtqueue>> Virtqueue::make_packed(const Setup& setup,
                                                          const GuestMemory& memory) {
  if (setup.size == 0 || setup.size > kMaxQueueSize)
    return Error{Errc::invalid,
                 fmt::format("ring of {} entries; 1 to {} are taken", setup.size, kMaxQueueSize)};
  return started(std::make_unique<PackedRing>(setup), memory);
}

bool PackedRing::relocate(const GuestMemory& memory) {
  const RingAddresses& at = setup_.addresses;
  constexpr uint64_t kEventBytes = 2 * sizeof(uint16_t);
  std::byte* descriptors = memory.translate_user(at.descriptors, setup_.size * sizeof(Descriptor));
  // "available" is the driver's event suppression, "used" the device's.
  std::byte* driver = memory.translate_user(at.available, kEventBytes);
  std::byte* device = memory.translate_user(at.used, kEventBytes);
  if (!present_and_aligned(descriptors, 8) || !present_and_aligned(driver, 2) ||
      !present_and_aligned(device, 2))
    return false;
  descriptors_ = descriptors;
  driver_event_ = reinterpret_cast<uint16_t*>(driver);
  device_event_ = reinterpret_cast<uint16_t*>(device);
  return true;
}

Result<void> PackedRing::start() {
  // Everything was given back before a ring stops, so the used side continues at the same place.
  next_avail_.index = static_cast<uint16_t>(setup_.base & kIndexMask);
  next_avail_.wrap = (setup_.base & kWrap) != 0;
  if (next_avail_.index >= setup_.size)
    return Error{Errc::invalid, fmt::format("a ring of {} entries cannot continue at {}",
                                            setup_.size, next_avail_.index)};
  used_ = next_avail_;
  batch_.resize(setup_.size);
  if (setup_.inflight) {
    const Result<void> recovered = recover();
    if (!recovered) return recovered;
  }
  called_ = used_;
  return {};
}

void PackedRing::init_region() {
  InflightPackedHeader* header = inflight_.header();
  for (uint32_t i = 0; i < setup_.size; ++i) {
    store_once(&inflight_.entry(i)->inflight, uint8_t{0});
    // The last one names no entry: the end of the list.
    store_once(&inflight_.entry(i)->next, static_cast<uint16_t>(i + 1));
  }
  store_once(&header->desc_num, static_cast<uint16_t>(setup_.size));
  store_once(&header->free_head, uint16_t{0});
  store_once(&header->old_free_head, uint16_t{0});
  store_once(&header->used_idx, used_.index);
  store_once(&header->old_used_idx, used_.index);
  store_once(&header->used_wrap_counter, static_cast<uint8_t>(used_.wrap));
  store_once(&header->old_used_wrap_counter, static_cast<uint8_t>(used_.wrap));
  store_release(&header->version, kInflightVersion);
}

// The section "Inflight I/O tracking", packed virtqueues, "When reconnecting".
Result<void> PackedRing::recover() {
  InflightPackedHeader* header = inflight_.header();
  const Result<void> room = setup_.inflight.check_room(setup_.size);
  if (!room) return room;
  next_free_.resize(setup_.size);
  last_of_.resize(setup_.size);
  if (load_once(&header->version) == 0) init_region();
  if (load_once(&header->version) != kInflightVersion)
    return Error{Errc::damaged, "the inflight region is damaged"};

  const Position old{load_once(&header->old_used_idx),
                     load_once(&header->old_used_wrap_counter) != 0};
  const Position now{load_once(&header->used_idx), load_once(&header->used_wrap_counter) != 0};
  if (old.index >= setup_.size || now.index >= setup_.size)
    return Error{Errc::damaged, "the inflight region is damaged"};
  used_ = old;
  free_head_ = load_once(&header->old_free_head);
  if (old.index != now.index || old.wrap != now.wrap) {
    // A batch was on its way. If its first entry shows it, the driver has it.
    const uint16_t flags = load_once(flags_at(old));
    const bool still_available =
        ((flags & kAvailable) != 0) == old.wrap && ((flags & kUsed) != 0) != old.wrap;
    if (!still_available) {
      used_ = now;
      free_head_ = load_once(&header->free_head);
    }
  }
  store_once(&header->old_free_head, free_head_);
  store_once(&header->free_head, free_head_);
  store_once(&header->old_used_idx, used_.index);
  store_once(&header->used_idx, used_.index);
  store_once(&header->old_used_wrap_counter, static_cast<uint8_t>(used_.wrap));
  store_release(&header->used_wrap_counter, static_cast<uint8_t>(used_.wrap));
  return read_lists();
}

/// Copies the free list, and finds what is in none: that is under way.
Result<void> PackedRing::read_lists() {
  const Error damaged{Errc::damaged, "the inflight region is damaged"};
  std::vector<uint8_t> seen(setup_.size, 0);
  uint16_t entry = free_head_;
  for (uint32_t i = 0; entry < setup_.size; ++i) {
    if (i == setup_.size || seen[entry] != 0) return damaged;
    seen[entry] = 1;
    store_once(&inflight_.entry(entry)->inflight, uint8_t{0});
    next_free_[entry] = load_once(&inflight_.entry(entry)->next);
    entry = next_free_[entry];
  }
  struct Found {
    uint64_t counter;
    uint16_t first;
  };
  std::vector<Found> found;
  uint32_t entries = 0;
  for (uint32_t i = 0; i < setup_.size; ++i) {
    if (load_once(&inflight_.entry(i)->inflight) == 0) continue;
    found.push_back({load_once(&inflight_.entry(i)->counter), static_cast<uint16_t>(i)});
    const uint16_t count = load_once(&inflight_.entry(i)->num);
    uint16_t at = static_cast<uint16_t>(i);
    for (uint32_t taken = 0; taken < count; ++taken) {
      if (at >= setup_.size || seen[at] != 0) return damaged;
      seen[at] = 1;
      last_of_[i] = at;
      next_free_[at] = load_once(&inflight_.entry(at)->next);
      at = next_free_[at];
    }
    if (count == 0) return damaged;
    entries += count;
  }
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.counter < b.counter; });
  for (const Found& one : found) {
    unfinished_.push_back(one.first);
    counter_ = one.counter + 1;
  }
  next_avail_ = used_;
  entries_under_way_ = entries;
  advance(next_avail_, entries);
  return {};
}

void PackedRing::close() {
  if (setup_.inflight) store_release(&inflight_.header()->version, uint16_t{0});
}

void PackedRing::advance(Position& position, uint32_t entries) const {
  uint32_t index = position.index + entries;
  LATTE_CHECK(entries <= setup_.size);
  if (index >= setup_.size) {
    index -= setup_.size;
    position.wrap = !position.wrap;
  }
  position.index = static_cast<uint16_t>(index);
}

uint32_t PackedRing::base() const {
  const uint32_t place = next_avail_.index | (next_avail_.wrap ? uint32_t{kWrap} : 0u);
  return place | place << 16;
}

bool PackedRing::has_next() {
  const uint16_t flags = load_acquire(flags_at(next_avail_));
  return ((flags & kAvailable) != 0) == next_avail_.wrap &&
         ((flags & kUsed) != 0) != next_avail_.wrap;
}

Pop PackedRing::add_any(const GuestMemory& memory, const Descriptor& descriptor, bool first,
                        Chain& chain) {
  if ((descriptor.flags & VRING_DESC_F_INDIRECT) == 0)
    return add(memory, descriptor, chain) ? Pop::chain : Pop::broken;
  if (!setup_.indirect) return broken("an indirect table, which was not agreed on");
  if ((descriptor.flags & VRING_DESC_F_NEXT) != 0 || !first)
    return broken("an indirect table in a chain of others");
  return add_table(memory, descriptor, true, chain) ? Pop::chain : Pop::broken;
}

Pop PackedRing::pop(const GuestMemory& memory, Chain& chain) {
  if (!has_next()) return Pop::empty;
  chain.clear();
  std::array<Descriptor, kMaxChainDescriptors> taken;
  uint32_t count = 0;
  Position at = next_avail_;
  for (;;) {
    if (count == kMaxChainDescriptors || entries_under_way_ + count >= setup_.size)
      return broken("more descriptors are under way than the ring has, or a chain is too long");
    const Descriptor descriptor = read_packed_descriptor(descriptor_at(at));
    taken[count++] = descriptor;
    if (add_any(memory, descriptor, count == 1, chain) != Pop::chain) return Pop::broken;
    advance(at, 1);
    if ((descriptor.flags & VRING_DESC_F_NEXT) == 0) break;
  }
  chain.id = taken[count - 1].next;
  chain.ring_entries = static_cast<uint16_t>(count);
  entries_under_way_ += count;
  next_avail_ = at;
  if (setup_.inflight) track(taken.data(), count, chain);
  return Pop::chain;
}

/// "When receiving available buffers from the driver".
void PackedRing::track(const Descriptor* descriptors, uint32_t count, Chain& chain) {
  InflightPackedHeader* header = inflight_.header();
  const uint16_t first = free_head_;
  // There is one entry for each of the ring's, so there is a free one.
  LATTE_CHECK(first < setup_.size);
  chain.inflight_entry = first;
  InflightPackedEntry* head = inflight_.entry(first);
  uint16_t entry = first;
  for (uint32_t i = 0; i < count; ++i) {
    LATTE_CHECK(entry < setup_.size);
    InflightPackedEntry* copy = inflight_.entry(entry);
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
}

Pop PackedRing::pop_unfinished(const GuestMemory& memory, Chain& chain) {
  if (unfinished_.empty()) return Pop::empty;
  const uint16_t first = unfinished_.front();
  unfinished_.pop_front();
  chain.clear();
  const uint16_t count = load_once(&inflight_.entry(first)->num);
  uint16_t entry = first;
  for (uint32_t i = 0; i < count; ++i) {
    if (entry >= setup_.size) return broken("the inflight region changed while it was read");
    const InflightPackedEntry* copy = inflight_.entry(entry);
    const Descriptor descriptor{load_once(&copy->addr), load_once(&copy->len),
                                load_once(&copy->flags), load_once(&copy->id)};
    if (add_any(memory, descriptor, i == 0, chain) != Pop::chain) return Pop::broken;
    chain.id = descriptor.next;
    entry = next_free_[entry];
  }
  chain.ring_entries = count;
  chain.inflight_entry = first;
  return Pop::chain;
}

void PackedRing::push(const Chain& chain, uint32_t written) {
  LATTE_CHECK(chain.ring_entries <= entries_under_way_ && batch_size_ < batch_.size());
  Given& given = batch_[batch_size_++];
  given.at = used_;
  given.chain.id = chain.id;
  given.chain.ring_entries = chain.ring_entries;
  given.chain.inflight_entry = chain.inflight_entry;
  given.written = written;
  advance(used_, chain.ring_entries);
}

void PackedRing::write_used(const Given& given) {
  auto* shared = reinterpret_cast<PackedDescriptor*>(descriptor_at(given.at));
  store_once(&shared->length, given.written);
  store_once(&shared->id, given.chain.id);
  store_release(&shared->flags, used_flags(given.at.wrap, given.written));
}

void PackedRing::publish() {
  if (batch_size_ == 0) return;
  const std::span<const Given> batch(batch_.data(), batch_size_);
  InflightPackedHeader* header = setup_.inflight ? inflight_.header() : nullptr;
  for (const Given& given : batch) {
    called_entries_ += given.chain.ring_entries;
    entries_under_way_ -= given.chain.ring_entries;
    if (header == nullptr) continue;
    const uint16_t first = given.chain.inflight_entry;
    const uint16_t last = last_of_[first];
    next_free_[last] = free_head_;
    store_once(&inflight_.entry(last)->next, free_head_);
    free_head_ = first;
    store_release(&header->free_head, free_head_);
  }
  if (header != nullptr) {
    store_once(&header->used_idx, used_.index);
    store_release(&header->used_wrap_counter, static_cast<uint8_t>(used_.wrap));
  }
  for (const Given& given : batch.subspan(1)) write_used(given);
  write_used(batch.front());
  batch_size_ = 0;
  if (header == nullptr) return;
  for (const Given& given : batch)
    store_release(&inflight_.entry(given.chain.inflight_entry)->inflight, uint8_t{0});
  store_release(&header->old_free_head, free_head_);
  store_release(&header->old_used_idx, used_.index);
  store_release(&header->old_used_wrap_counter, static_cast<uint8_t>(used_.wrap));
}

bool PackedRing::call_wanted() {
  if (called_entries_ == 0) return false;
  full_fence();
  const uint32_t given = std::exchange(called_entries_, 0);
  const Position before = std::exchange(called_, used_);
  const uint16_t flags = load_once(driver_event_ + 1);
  if (flags == VRING_PACKED_EVENT_FLAG_DISABLE) return false;
  if (flags != VRING_PACKED_EVENT_FLAG_DESC || !setup_.event_index) return true;
  const uint16_t wish = load_once(driver_event_);
  // How far behind the old position the wished place lies, along the ring.
  uint32_t distance = wish & kIndexMask;
  if (((wish & kWrap) != 0) != before.wrap) distance += setup_.size;
  return distance >= before.index && distance - before.index < given;
}

void PackedRing::suppress_kicks() {
  store_once(device_event_ + 1, uint16_t{VRING_PACKED_EVENT_FLAG_DISABLE});
}

bool PackedRing::request_kicks() {
  if (setup_.event_index) {
    store_once(device_event_,
               static_cast<uint16_t>(next_avail_.index | (next_avail_.wrap ? kWrap : 0)));
    store_release(device_event_ + 1, uint16_t{VRING_PACKED_EVENT_FLAG_DESC});
  } else {
    store_once(device_event_ + 1, uint16_t{VRING_PACKED_EVENT_FLAG_ENABLE});
  }
  full_fence();
  return has_next();
}

}  // namespace latte::vhost
