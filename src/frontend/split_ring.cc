#include "frontend/split_ring.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "frontend/ring_access.h"

namespace latte::vhost {
namespace {

// In units of uint16_t.
constexpr uint32_t kFlags = 0;
constexpr uint32_t kIndex = 1;
constexpr uint32_t kRing = 2;

struct UsedElement {
  uint32_t id;
  uint32_t length;
};
constexpr uint32_t kUsedElementWords = sizeof(UsedElement) / sizeof(uint16_t);

}  // namespace

Result<std::unique_ptr<Virtqueue>> Virtqueue::make_split(const Setup& setup,
                                                         const GuestMemory& memory) {
  if (setup.size == 0 || setup.size > kMaxQueueSize || !std::has_single_bit(setup.size))
    return Error{Errc::invalid, fmt::format("ring of {} entries; a power of two up to {} is taken",
                                            setup.size, kMaxQueueSize)};
  return started(std::make_unique<SplitRing>(setup), memory);
}

bool SplitRing::relocate(const GuestMemory& memory) {
  const uint64_t size = setup_.size;
  const RingAddresses& at = setup_.addresses;
  std::byte* descriptors = memory.translate_user(at.descriptors, size * sizeof(Descriptor));
  std::byte* available = memory.translate_user(at.available, (kRing + size + 1) * sizeof(uint16_t));
  std::byte* used =
      memory.translate_user(at.used, (kRing + 1) * sizeof(uint16_t) + size * sizeof(UsedElement));
  // The table wants 16 by the specification; 8 is what reading its fields needs.
  if (!present_and_aligned(descriptors, 8) || !present_and_aligned(available, 2) ||
      !present_and_aligned(used, 4))
    return false;
  descriptors_ = descriptors;
  available_ = reinterpret_cast<uint16_t*>(available);
  used_ring_ = reinterpret_cast<uint16_t*>(used);
  return true;
}

Result<void> SplitRing::start() {
  next_avail_ = static_cast<uint16_t>(setup_.base);
  used_ = load_once(used_ring_ + kIndex);
  batch_.reserve(setup_.size);
  if (setup_.inflight) {
    const Result<void> recovered = recover();
    if (!recovered) return recovered;
  }
  avail_seen_ = next_avail_;
  published_ = called_ = used_;
  return {};
}

// The section "Inflight I/O tracking", "When reconnecting".
Result<void> SplitRing::recover() {
  InflightSplitHeader* header = inflight_.header();
  const Error damaged{Errc::damaged, "the inflight region is damaged"};
  const Result<void> room = setup_.inflight.check_room(setup_.size);
  if (!room) return room;
  if (load_once(&header->version) == 0) {
    store_once(&header->desc_num, static_cast<uint16_t>(setup_.inflight.entries));
    store_once(&header->used_idx, used_);
    store_release(&header->version, kInflightVersion);
    return {};
  }
  if (load_once(&header->version) != kInflightVersion) return damaged;

  const auto last_batch = static_cast<uint16_t>(used_ - load_once(&header->used_idx));
  if (last_batch <= setup_.size) {
    uint16_t entry = load_once(&header->last_batch_head);
    for (uint16_t i = 0; i < last_batch; ++i) {
      if (entry >= setup_.size) return damaged;
      store_once(&inflight_.entry(entry)->inflight, uint8_t{0});
      entry = load_once(&inflight_.entry(entry)->next);
    }
  }
  struct Found {
    uint64_t counter;
    uint16_t head;
  };
  std::vector<Found> found;
  for (uint32_t i = 0; i < setup_.size; ++i)
    if (load_once(&inflight_.entry(i)->inflight) != 0)
      found.push_back({load_once(&inflight_.entry(i)->counter), static_cast<uint16_t>(i)});
  // A ring that was set up anew has nothing of the old one under way.
  if (last_batch > setup_.size && !found.empty()) return damaged;
  store_release(&header->used_idx, used_);

  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.counter < b.counter; });
  for (const Found& one : found) {
    unfinished_.push_back(one.head);
    counter_ = one.counter + 1;
  }
  // Everything ever taken was given back or is still marked: so far the server before this one had
  // come. The front-end's word counts less: it may have looked at the used index before that server
  // had given back its last requests (QEMU looks at the moment it sees the hang-up).
  next_avail_ = static_cast<uint16_t>(used_ + found.size());
  return {};
}

bool SplitRing::has_next() {
  if (avail_seen_ == next_avail_) avail_seen_ = load_acquire(available_ + kIndex);
  return avail_seen_ != next_avail_;
}

Pop SplitRing::pop(const GuestMemory& memory, Chain& chain) {
  if (!has_next()) return Pop::empty;
  if (static_cast<uint16_t>(avail_seen_ - next_avail_) > setup_.size)
    return broken("the available index jumped");
  const uint16_t head = load_once(available_ + kRing + (next_avail_ & mask()));
  if (head >= setup_.size) return broken("a descriptor number is beyond the table");
  if (under_way_[head] != 0) return broken("a descriptor was made available twice");
  const Pop result = read_chain(memory, head, chain);
  if (result != Pop::chain) return result;
  if (setup_.inflight) {
    InflightSplitEntry* entry = inflight_.entry(head);
    store_once(&entry->counter, counter_++);
    store_release(&entry->inflight, uint8_t{1});
  }
  ++next_avail_;
  return Pop::chain;
}

Pop SplitRing::pop_unfinished(const GuestMemory& memory, Chain& chain) {
  if (unfinished_.empty()) return Pop::empty;
  const uint16_t head = unfinished_.front();
  unfinished_.pop_front();
  return read_chain(memory, head, chain);
}

Pop SplitRing::read_chain(const GuestMemory& memory, uint16_t head, Chain& chain) {
  chain.clear();
  chain.id = head;
  uint16_t index = head;
  // A chain cannot be longer than its table, unless it is a loop.
  const uint32_t limit = std::min(setup_.size, kMaxChainDescriptors);
  for (uint32_t taken = 0;; ++taken) {
    if (taken == limit) return broken("a chain of descriptors is a loop, or too long");
    const Descriptor descriptor = read_descriptor(descriptors_ + index * sizeof(Descriptor));
    if ((descriptor.flags & VRING_DESC_F_INDIRECT) != 0) {
      if (!setup_.indirect) return broken("an indirect table, which was not agreed on");
      if ((descriptor.flags & VRING_DESC_F_NEXT) != 0 || taken > 0)
        return broken("an indirect table in a chain of others");
      if (!add_table(memory, descriptor, false, chain)) return Pop::broken;
      break;
    }
    if (!add(memory, descriptor, chain)) return Pop::broken;
    if ((descriptor.flags & VRING_DESC_F_NEXT) == 0) break;
    index = descriptor.next;
    if (index >= setup_.size) return broken("a chain goes on beyond the table");
  }
  under_way_[head] = 1;
  return Pop::chain;
}

void SplitRing::push(const Chain& chain, uint32_t written) {
  LATTE_CHECK(chain.id < setup_.size && under_way_[chain.id] != 0);
  under_way_[chain.id] = 0;
  auto* element =
      reinterpret_cast<UsedElement*>(used_ring_ + kRing + (used_ & mask()) * kUsedElementWords);
  store_once(&element->id, uint32_t{chain.id});
  store_once(&element->length, written);
  ++used_;
  if (setup_.inflight) batch_.push_back(chain.id);
}

void SplitRing::publish() {
  if (published_ == used_) return;
  published_ = used_;
  if (!setup_.inflight) {
    store_release(used_ring_ + kIndex, used_);
    return;
  }
  InflightSplitHeader* header = inflight_.header();
  // The list is ours to build: what memory says about its old head does not matter to its length.
  for (const uint16_t id : batch_) {
    store_once(&inflight_.entry(id)->next, load_once(&header->last_batch_head));
    store_release(&header->last_batch_head, id);
  }
  store_release(used_ring_ + kIndex, used_);
  for (const uint16_t id : batch_) store_release(&inflight_.entry(id)->inflight, uint8_t{0});
  store_release(&header->used_idx, used_);
  batch_.clear();
}

bool SplitRing::call_wanted() {
  if (called_ == published_) return false;
  full_fence();
  const uint16_t before = called_;
  called_ = published_;
  if (!setup_.event_index)
    return (load_once(available_ + kFlags) & VRING_AVAIL_F_NO_INTERRUPT) == 0;
  return event_passed(load_once(available_ + kRing + setup_.size), published_, before);
}

void SplitRing::suppress_kicks() {
  // With event indexes it is enough to leave ours where it is, behind.
  if (!setup_.event_index) store_once(used_ring_ + kFlags, uint16_t{VRING_USED_F_NO_NOTIFY});
}

bool SplitRing::request_kicks() {
  if (setup_.event_index)
    store_once(used_ring_ + kRing + setup_.size * kUsedElementWords, next_avail_);
  else
    store_once(used_ring_ + kFlags, uint16_t{0});
  full_fence();
  return has_next();
}

}  // namespace latte::vhost
