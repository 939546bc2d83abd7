// LogMarks: which bytes of a log may be damaged with the right to be noticed.
//
// A record that fails its check is damage only if something else in the log says that it had been
// durable; otherwise it is the torn end of the log, in any format that does not write twice. What
// says so are the durable marks in the headers and footers of the same disk's segments. LogMarks
// reads them from a device's durable bytes, by the format alone, and answers whether the damage of
// a page would be noticed.
//
// Invariants: 1. A mark counts only while nothing of its own segment has been damaged.
//             2. Marks that only a power loss could take away (not durable yet) don't count.
// Limits: a device of one space; sees nothing of later writes (make a new one for each round of
// damage).
#pragma once

#include <cstdint>
#include <vector>

#include "log/log_format.h"
#include "sim/page_store.h"

namespace latte::simtest {

class LogMarks {
 public:
  explicit LogMarks(const sim::PageStore& store);

  /// Would damage of the page be noticed? True for what belongs to no segment in use.
  bool covered(uint64_t page) const;
  /// The page was damaged.
  void damaged(uint64_t page);

 private:
  struct Segment {
    log::SegmentHeader header{};
    log::LogPosition mark;  // highest in this segment
    bool in_use = false;    // its header is durable, and the last to go by it
    bool changing = false;  // its header is about to be replaced
    bool damaged = false;
  };

  void load(const sim::PageStore& store, Segment& segment, uint64_t first_page) const;
  void drop_cut_off();

  uint64_t first_page_ = 0;
  uint64_t segment_pages_ = 0;
  std::vector<Segment> segments_;
};

}  // namespace latte::simtest
