// GuestMemory: the memory a vhost-user front-end shares, mapped here, and the translation of its
// addresses. A table never changes: adding or removing a region makes a new table that shares the
// regions that stay, so a request that holds the old one keeps what it points to mapped.
// (Specification: "Vhost-user Protocol", Memory regions description, Memory access.)
//
// Invariants:
//  1. What translate() returns lies wholly inside a mapping that was no longer than its file when
//     it was made.
//  2. Guest addresses of the regions do not overlap.
// Thread rule: one reactor; the reference count is no atomic.
// Limits: kMaxRegions regions. A front-end that shortens its file after it was mapped makes every
// access beyond the new end fail: I/O by the kernel ends with EFAULT, and for our own accesses see
// guest_memory_guard.h.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/result.h"
#include "device/unique_fd.h"
#include "frontend/vhost_user_protocol.h"

namespace latte::vhost {

/// Regions of one device: what GET_MAX_MEM_SLOTS says.
inline constexpr uint32_t kMaxRegions = 32;
/// Memory of one device, however sparse: address space is shared with the other disks' guests, and
/// 32 disks of this fit into the 128 TiB that there are.
inline constexpr uint64_t kMaxGuestBytes = 2ull << 40;

/// One region, mapped until the last table that has it is gone.
class GuestRegion {
 public:
  /// Maps the region out of `fd`, which may be closed afterwards. Errors: invalid (not a file with
  /// that much in it, addresses that wrap), no_space.
  static Result<std::shared_ptr<const GuestRegion>> map(const RegionDescription& description,
                                                        int fd);
  /// A region over memory that the caller keeps, for tests.
  static std::shared_ptr<const GuestRegion> borrow(const RegionDescription& description,
                                                   std::byte* memory);
  ~GuestRegion();
  GuestRegion(const GuestRegion&) = delete;
  GuestRegion& operator=(const GuestRegion&) = delete;

  const RegionDescription& description() const { return description_; }
  std::byte* data() const { return data_; }
  uint64_t size() const { return description_.size; }
  uint64_t guest_begin() const { return description_.guest_address; }
  uint64_t guest_end() const { return description_.guest_address + description_.size; }

 private:
  GuestRegion() = default;
  RegionDescription description_;
  std::byte* data_ = nullptr;
  void* mapping_ = nullptr;  // null: borrowed
  size_t mapping_bytes_ = 0;
};

class GuestMemory {
 public:
  using Regions = std::vector<std::shared_ptr<const GuestRegion>>;

  /// Errors: invalid (overlap, too many, more than kMaxGuestBytes).
  static Result<GuestMemory*> make(Regions regions);

  const Regions& regions() const { return regions_; }

  /// The memory at [guest_address, +length), or null unless it lies in one region. length > 0.
  std::byte* translate(uint64_t guest_address, uint64_t length) const {
    const GuestRegion* region = find(guest_address);
    if (region == nullptr || length > region->guest_end() - guest_address) return nullptr;
    return region->data() + (guest_address - region->guest_begin());
  }
  /// The same for an address of the front-end's own.
  std::byte* translate_user(uint64_t user_address, uint64_t length) const;
  /// Appends the pieces of [guest_address, +length), which may cross from region to region. False:
  /// some of it is in none, or `out` would get more than `limit` pieces. length > 0.
  bool append_pieces(uint64_t guest_address, uint64_t length, size_t limit,
                     std::vector<iovec>& out) const;

 private:
  friend class GuestMemoryRef;
  explicit GuestMemory(Regions regions) : regions_(std::move(regions)) {}
  ~GuestMemory() = default;
  const GuestRegion* find(uint64_t guest_address) const {
    const GuestRegion* last = last_found_;
    if (last != nullptr && guest_address >= last->guest_begin() &&
        guest_address < last->guest_end())
      return last;
    return find_slowly(guest_address);
  }
  const GuestRegion* find_slowly(uint64_t guest_address) const;

  Regions regions_;  // by guest address
  mutable const GuestRegion* last_found_ = nullptr;
  uint32_t references_ = 0;
};

/// Keeps a table, and so its mappings. A count, no atomic: one for each request under way.
class GuestMemoryRef {
 public:
  GuestMemoryRef() = default;
  explicit GuestMemoryRef(GuestMemory* memory) : memory_(memory) {
    if (memory_ != nullptr) ++memory_->references_;
  }
  GuestMemoryRef(const GuestMemoryRef& other) : GuestMemoryRef(other.memory_) {}
  GuestMemoryRef(GuestMemoryRef&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)) {}
  GuestMemoryRef& operator=(GuestMemoryRef other) noexcept {
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~GuestMemoryRef() { reset(); }
  void reset() {
    if (memory_ != nullptr && --memory_->references_ == 0) delete memory_;
    memory_ = nullptr;
  }
  const GuestMemory* operator->() const { return memory_; }
  const GuestMemory& operator*() const { return *memory_; }
  explicit operator bool() const { return memory_ != nullptr; }

 private:
  GuestMemory* memory_ = nullptr;
};

}  // namespace latte::vhost
