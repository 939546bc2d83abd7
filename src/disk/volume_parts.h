// VolumeParts: which extent of the device each part of a volume has. Parts are as long as extents,
// a power of two.
//
// Thread rule: one thread at a time.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"

namespace latte {

class VolumeParts {
 public:
  /// Parts that follow each other, in extents that do.
  struct Run {
    uint32_t part = 0;    ///< the first
    uint32_t extent = 0;  ///< its extent
    uint32_t count = 0;
  };

  /// No part at first.
  explicit VolumeParts(uint64_t extent_bytes)
      : extent_bytes_(extent_bytes), shift_(static_cast<unsigned>(std::countr_zero(extent_bytes))) {
    LATTE_CHECK(std::has_single_bit(extent_bytes));
  }

  uint64_t extent_bytes() const { return extent_bytes_; }
  uint32_t part_of(uint64_t offset) const { return static_cast<uint32_t>(offset >> shift_); }
  uint64_t offset_in_part(uint64_t offset) const { return offset & (extent_bytes_ - 1); }
  size_t size() const { return entries_.size(); }
  /// New parts have no extent.
  void resize(size_t parts) { entries_.resize(parts, kNone); }

  bool is_mapped(uint32_t part) const {
    return entries_[part] != kNone && entries_[part] != kComing;
  }
  /// Marked by expect().
  bool is_coming(uint32_t part) const { return entries_[part] == kComing; }
  /// Of a part that has one.
  uint32_t extent_of(uint32_t part) const { return entries_[part] - 1; }
  void map(uint32_t part, uint32_t extent) { entries_[part] = extent + 1; }
  /// It has no extent, and must not get another one meanwhile.
  void expect(uint32_t part) { entries_[part] = kComing; }
  void clear(uint32_t part) { entries_[part] = kNone; }

  /// Where `length` bytes from `offset` on lie, one byte at least; nothing unless all of their
  /// parts have extents, one behind the other on the device.
  std::optional<Run> run(uint64_t offset, uint64_t length) const {
    const uint32_t first = part_of(offset);
    const uint32_t last = part_of(offset + length - 1);
    if (!is_mapped(first)) return std::nullopt;
    for (uint32_t part = first + 1; part <= last; ++part)
      if (entries_[part] != entries_[part - 1] + 1 || !is_mapped(part)) return std::nullopt;
    return Run{first, extent_of(first), last - first + 1};
  }

 private:
  static constexpr uint32_t kNone = 0;
  static constexpr uint32_t kComing = UINT32_MAX;

  const uint64_t extent_bytes_;
  const unsigned shift_;
  std::vector<uint32_t> entries_;  // extent + 1
};

}  // namespace latte
