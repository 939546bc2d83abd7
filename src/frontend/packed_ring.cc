#include "frontend/packed_ring.h"

#include <fmt/format.h>

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
  if (inflight_) {
    const Result<void> recovered = recover();
    if (!recovered) return recovered;
  }
  called_ = used_;
  return {};
}

/// Takes up where the server before this one was killed.
Result<void> PackedRing::recover() {
  const Result<void> opened = inflight_.open(used_);
  if (!opened) return opened;
  const Position old = inflight_.old_used();
  bool published = false;
  if (old != inflight_.new_used()) {
    // A batch was on its way. If its first entry shows it, the driver has it.
    const uint16_t flags = load_once(flags_at(old));
    const bool still_available =
        ((flags & kAvailable) != 0) == old.wrap && ((flags & kUsed) != 0) != old.wrap;
    published = !still_available;
  }
  const Result<void> recovered = inflight_.recover(published);
  if (!recovered) return recovered;
  used_ = published ? inflight_.new_used() : old;
  next_avail_ = used_;
  entries_under_way_ = inflight_.recovered_entries();
  advance(next_avail_, entries_under_way_);
  return {};
}

void PackedRing::close() {
  if (inflight_) inflight_.close();
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
  if (inflight_) chain.inflight_entry = inflight_.track(taken.data(), count);
  return Pop::chain;
}

Pop PackedRing::pop_unfinished(const GuestMemory& memory, Chain& chain) {
  uint16_t first = 0;
  if (!inflight_.take_unfinished(first)) return Pop::empty;
  chain.clear();
  const uint16_t count = inflight_.count(first);
  uint16_t entry = first;
  for (uint32_t i = 0; i < count; ++i) {
    if (!inflight_.has(entry)) return broken("the inflight region changed while it was read");
    const Descriptor descriptor = inflight_.descriptor(entry);
    if (add_any(memory, descriptor, i == 0, chain) != Pop::chain) return Pop::broken;
    chain.id = descriptor.next;
    entry = inflight_.next(entry);
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
  for (const Given& given : batch) {
    called_entries_ += given.chain.ring_entries;
    entries_under_way_ -= given.chain.ring_entries;
    if (inflight_) inflight_.give_back(given.chain.inflight_entry);
  }
  if (inflight_) inflight_.set_used(used_);
  for (const Given& given : batch.subspan(1)) write_used(given);
  write_used(batch.front());
  batch_size_ = 0;
  if (!inflight_) return;
  for (const Given& given : batch) inflight_.clear(given.chain.inflight_entry);
  inflight_.settle(used_);
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
