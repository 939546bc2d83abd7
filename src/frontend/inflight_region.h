// InflightRegion: memory shared with the front-end that says which requests are under way, so that
// the server after a killed one completes exactly those. Its layout is the specification's
// ("Vhost-user Protocol", Inflight I/O tracking); the rings (split_ring.cc, packed_ring.cc) keep it
// in the order of steps given there, and read it again after a restart.
//
// Invariants:
//  1. The region is the front-end's to spoil: what is read from it is checked as guest memory is.
//  2. It is mapped until the last InflightQueue is gone.
// Thread rule: one reactor. Limits: kMaxQueues queues of kMaxQueueSize entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "device/unique_fd.h"
#include "frontend/vhost_user_protocol.h"

namespace latte::vhost {

inline constexpr uint16_t kInflightVersion = 1;

/// DescStateSplit: one per descriptor, used for the first of each buffer.
struct InflightSplitEntry {
  uint8_t inflight;
  uint8_t padding[5];
  uint16_t next;     ///< in the last batch given back
  uint64_t counter;  ///< order of taking
};
static_assert(sizeof(InflightSplitEntry) == 16);

/// QueueRegionSplit.
struct InflightSplitHeader {
  uint64_t features;
  uint16_t version;
  uint16_t desc_num;
  uint16_t last_batch_head;
  uint16_t used_idx;
};
static_assert(sizeof(InflightSplitHeader) == 16);

/// DescStatePacked: a copy of each descriptor that is under way, in lists.
struct InflightPackedEntry {
  uint8_t inflight;
  uint8_t padding;
  uint16_t next;
  uint16_t last;
  uint16_t num;
  uint64_t counter;
  uint16_t id;
  uint16_t flags;
  uint32_t len;
  uint64_t addr;
};
static_assert(sizeof(InflightPackedEntry) == 32);

/// QueueRegionPacked.
struct InflightPackedHeader {
  uint64_t features;
  uint16_t version;
  uint16_t desc_num;
  uint16_t free_head;
  uint16_t old_free_head;
  uint16_t used_idx;
  uint16_t old_used_idx;
  uint8_t used_wrap_counter;
  uint8_t old_used_wrap_counter;
  uint8_t padding[7];
};
static_assert(sizeof(InflightPackedHeader) == 32);

class InflightRegion;

/// The part of one queue; empty if nothing is tracked.
struct InflightQueue {
  std::shared_ptr<InflightRegion> region;
  std::byte* data = nullptr;
  uint16_t entries = 0;

  explicit operator bool() const { return data != nullptr; }
  /// Error (invalid) unless there is an entry for each of the ring's.
  Result<void> check_room(uint32_t ring_entries) const;
};

/// A queue's part by its layout: a header, then entries. Only for a part that is not empty.
template <typename Header, typename Entry>
class InflightLayout {
 public:
  explicit InflightLayout(const InflightQueue& queue) : data_(queue.data) {}
  Header* header() const { return reinterpret_cast<Header*>(data_); }
  Entry* entry(uint32_t index) const {
    return reinterpret_cast<Entry*>(data_ + sizeof(Header)) + index;
  }

 private:
  std::byte* data_;  // of the InflightQueue, whose owner keeps it
};
using InflightSplit = InflightLayout<InflightSplitHeader, InflightSplitEntry>;
using InflightPacked = InflightLayout<InflightPackedHeader, InflightPackedEntry>;

class InflightRegion {
 public:
  /// New memory, zeroed: nothing is under way. Errors: invalid (numbers), no_space.
  static Result<std::shared_ptr<InflightRegion>> create(uint16_t queues, uint16_t queue_size,
                                                        bool packed);
  /// What the front-end kept. Errors: invalid, no_space.
  static Result<std::shared_ptr<InflightRegion>> map(const InflightDescription& description,
                                                     UniqueFd fd, bool packed);
  ~InflightRegion();
  InflightRegion(const InflightRegion&) = delete;
  InflightRegion& operator=(const InflightRegion&) = delete;

  const InflightDescription& description() const { return description_; }
  int fd() const { return fd_.get(); }
  bool packed() const { return packed_; }
  /// The part of queue `index`; empty if the region has none.
  static InflightQueue queue(const std::shared_ptr<InflightRegion>& region, uint32_t index);
  /// Bytes for one queue.
  static size_t queue_bytes(uint16_t queue_size, bool packed);

 private:
  InflightRegion() = default;
  Result<void> map_fd();

  InflightDescription description_;
  UniqueFd fd_;
  bool packed_ = false;
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  std::byte* data_ = nullptr;
};

}  // namespace latte::vhost
