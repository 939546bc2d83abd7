// SeqSet: which sequence numbers are accounted for, as ranges. Cheap where they come mostly in
// order.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/units.h"

namespace latte {

class SeqSet {
 public:
  /// Adds [first, first + count).
  void add(Seq first, uint64_t count);
  /// The highest seq such that all seqs in (floor, it] are in the set; `floor` if the next is
  /// missing.
  Seq contiguous_from(Seq floor);
  /// The ranges missing in (floor, top], as (first, count).
  std::vector<std::pair<Seq, uint64_t>> gaps(Seq floor, Seq top);
  bool contains(Seq seq) const;
  /// The highest seq in the set below `limit`, or 0.
  Seq highest_below(Seq limit);
  void clear() { ranges_.clear(); }

 private:
  void normalise();
  struct Range {
    uint64_t first;
    uint64_t end;
  };
  std::vector<Range> ranges_;
  bool sorted_ = true;
};

}  // namespace latte
