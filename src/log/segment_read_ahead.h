// SegmentReadAhead: loads a row of segments in order, several at a time, so that a recovery waits
// for the device's bandwidth and not for its latency.
//
// Invariants:
//  1. next() returns the segments in the order in which they were wanted.
//  2. At most kReadAheadSegments are loaded or being loaded beyond those that next() returned.
// Thread rule: one reactor. Limits: memory of kReadAheadSegments segments' tables, about 150 KiB
// each of them for segments of 4 MiB.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "log/segment_reader.h"
#include "runtime/sync.h"

namespace latte::log {

/// A table takes about 250 us at a drive that then gives 0.5 GB/s: 16 at once reach 6 GB/s.
inline constexpr size_t kReadAheadSegments = 16;

class SegmentReadAhead {
 public:
  struct Wanted {
    FoundSegment found;
    uint32_t limit_block = 0;
  };

  /// `space` outlives this.
  SegmentReadAhead(SegmentSpace& space, std::vector<Wanted> wanted);
  /// All that was wanted has been taken, or the reactor's tasks are gone.
  ~SegmentReadAhead() = default;
  SegmentReadAhead(const SegmentReadAhead&) = delete;
  SegmentReadAhead& operator=(const SegmentReadAhead&) = delete;

  /// load_segment() of the next one. There must be one.
  Task<SegmentContent> next();

 private:
  struct Slot {
    SegmentContent content;
    bool loaded = false;
  };

  Task<void> load(size_t index);
  Slot& slot_of(size_t index) { return slots_[index % slots_.size()]; }

  SegmentSpace& space_;
  std::vector<Wanted> wanted_;
  std::array<Slot, kReadAheadSegments> slots_;
  size_t started_ = 0;
  size_t taken_ = 0;
  WaitQueue loaded_;
};

}  // namespace latte::log
