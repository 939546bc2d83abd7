// ExtentMap: ranges of a disk that hold no data: they read as zeroes, or are lost. A discard of a
// whole disk is one entry here, where the block index would need one per block.
//
// Invariants: 1. Ranges never overlap; each carries the seq of the write that made it.
// Thread rule: one reactor. Memory: about 80 bytes a range.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "base/units.h"

namespace latte {

enum class ExtentKind : uint8_t {
  zero,  ///< reads as zeroes
  lost,  ///< the only copy is gone: reads fail
};

class ExtentMap {
 public:
  struct Range {
    uint64_t end = 0;  ///< first block after the range
    ExtentKind kind = ExtentKind::zero;
    Seq seq;
  };
  /// What holds at a block: `found` and the range's fields, or nothing up to `run` blocks on.
  struct Hit {
    bool found = false;
    ExtentKind kind = ExtentKind::zero;
    Seq seq;
    uint64_t run = 0;  ///< blocks from the asked one to the end of the range or of the gap
  };

  bool empty() const { return ranges_.empty(); }
  size_t size() const { return ranges_.size(); }
  /// Blocks in ranges of this kind.
  uint64_t blocks(ExtentKind kind) const;

  /// Looks at `lba`; `limit` bounds Hit::run.
  Hit find(Lba lba, uint64_t limit) const;
  /// Is there a range in [lba, lba + count)?
  bool any_in(Lba lba, uint64_t count) const {
    const Hit hit = find(lba, count);
    return hit.found || hit.run < count;
  }
  /// Makes [lba, lba + count) one range, replacing what was there.
  void set(Lba lba, uint64_t count, ExtentKind kind, Seq seq);
  /// Likewise, but leaves alone the parts whose range has a higher seq.
  void set_if_newer(Lba lba, uint64_t count, ExtentKind kind, Seq seq);
  /// Forgets [lba, lba + count).
  void erase(Lba lba, uint64_t count);
  /// Forgets the parts of [lba, lba + count) whose seq is at most `seq`.
  void erase_up_to(Lba lba, uint64_t count, Seq seq);

  /// Calls `visit(Lba, count, Range)` in order for the parts within [lba, lba + count).
  template <typename Visit>
  void for_each_in(Lba lba, uint64_t count, Visit&& visit) const {
    const uint64_t end = lba.value + count;
    auto it = ranges_.upper_bound(lba.value);
    if (it != ranges_.begin()) --it;
    for (; it != ranges_.end() && it->first < end; ++it) {
      const uint64_t from = it->first > lba.value ? it->first : lba.value;
      const uint64_t to = it->second.end < end ? it->second.end : end;
      if (from < to) visit(Lba(from), to - from, it->second);
    }
  }

 private:
  /// Makes `lba` a boundary: no range spans it afterwards.
  void split_at(uint64_t lba);

  std::map<uint64_t, Range> ranges_;
};

}  // namespace latte
