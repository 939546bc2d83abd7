// PackedInflight: what a packed ring notes in the inflight region: a copy of each descriptor under
// way, in lists, and where the used side stands. ("Vhost-user Protocol", Inflight I/O tracking,
// packed virtqueues.)
//
// Invariants:
//  1. The free list is kept in a copy of ours; the region only mirrors it. What is read from the
//     region after recover() is checked again.
//  2. A batch is given back in the specification's steps: give_back() for each buffer, set_used(),
//     then the ring's own flags, then clear() for each, settle(). A server killed between any two
//     of them leaves what recover() needs.
// Thread rule: one reactor. Limits: the region's entries.
#pragma once

#include <deque>
#include <vector>

#include "frontend/inflight_region.h"
#include "frontend/ring_access.h"
#include "frontend/virtqueue.h"

namespace latte::vhost {

/// A place in a packed ring, and whether the driver's flags there are 1 or 0 this time round.
struct PackedPosition {
  uint16_t index = 0;
  bool wrap = true;

  bool operator==(const PackedPosition&) const = default;
};

class PackedInflight {
 public:
  /// `queue` may be empty: then nothing but the conversion to bool may be used.
  PackedInflight(const InflightQueue& queue, uint32_t ring_size)
      : queue_(queue), region_(queue), size_(ring_size) {}
  explicit operator bool() const { return static_cast<bool>(queue_); }

  // When the ring starts, in this order.
  /// Readies a region that is new; `used` is where the ring begins then. Errors: invalid (no room
  /// for the ring), damaged.
  Result<void> open(PackedPosition used);
  /// Where the used side stood before and after the last batch; they differ if the server died
  /// within one.
  PackedPosition old_used() const { return old_used_; }
  PackedPosition new_used() const { return new_used_; }
  /// `published`: the driver has seen that batch. Finds what is under way. Errors: damaged.
  Result<void> recover(bool published);
  /// Entries of the ring under way then.
  uint32_t recovered_entries() const { return recovered_entries_; }

  /// A buffer that was under way then, and not taken yet: its first entry, in the order in which
  /// they came. False: there is none.
  bool take_unfinished(uint16_t& first);
  /// The entries of the buffer that begins at `first`.
  uint16_t count(uint16_t first) const { return load_once(&region_.entry(first)->num); }
  bool has(uint16_t entry) const { return entry < size_; }
  Descriptor descriptor(uint16_t entry) const;
  uint16_t next(uint16_t entry) const { return next_free_[entry]; }

  /// Notes a buffer that was taken from the ring; returns its first entry.
  uint16_t track(const Descriptor* descriptors, uint32_t count);
  void give_back(uint16_t first);
  void set_used(PackedPosition used);
  void clear(uint16_t first) { store_release(&region_.entry(first)->inflight, uint8_t{0}); }
  void settle(PackedPosition used);
  /// The ring stops in order: nothing is under way.
  void close() { store_release(&region_.header()->version, uint16_t{0}); }

 private:
  void init(PackedPosition used);
  Result<void> read_lists();

  const InflightQueue queue_;
  const InflightPacked region_;
  const uint32_t size_;  // entries of the ring
  PackedPosition old_used_;
  PackedPosition new_used_;
  uint64_t counter_ = 0;
  uint32_t recovered_entries_ = 0;
  std::vector<uint16_t> next_free_;  // next_free_[i] follows i, in the free list or in a buffer
  std::vector<uint16_t> last_of_;    // by first entry of a buffer under way
  uint16_t free_head_ = 0;
  std::deque<uint16_t> unfinished_;  // first entries, in order of their counters
};

}  // namespace latte::vhost
