#include "log/seq_set.h"

#include <algorithm>

namespace latte {

void SeqSet::add(Seq first, uint64_t count) {
  if (count == 0) return;
  const uint64_t end = first.value + count;
  if (!ranges_.empty()) {
    Range& last = ranges_.back();
    if (first.value >= last.first && first.value <= last.end) {
      last.end = std::max(last.end, end);
      return;
    }
    if (first.value < last.first) sorted_ = false;
  }
  ranges_.push_back(Range{first.value, end});
}

void SeqSet::normalise() {
  if (!sorted_)
    std::sort(ranges_.begin(), ranges_.end(),
              [](const Range& a, const Range& b) { return a.first < b.first; });
  sorted_ = true;
  size_t kept = 0;
  for (size_t i = 0; i < ranges_.size(); ++i) {
    if (kept > 0 && ranges_[i].first <= ranges_[kept - 1].end)
      ranges_[kept - 1].end = std::max(ranges_[kept - 1].end, ranges_[i].end);
    else
      ranges_[kept++] = ranges_[i];
  }
  ranges_.resize(kept);
}

Seq SeqSet::contiguous_from(Seq floor) {
  normalise();
  uint64_t next = floor.value + 1;
  for (const Range& range : ranges_) {
    if (range.first > next) break;
    next = std::max(next, range.end);
  }
  return Seq(next - 1);
}

bool SeqSet::contains(Seq seq) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) {
    return range.first <= seq.value && seq.value < range.end;
  });
}

Seq SeqSet::highest_below(Seq limit) {
  normalise();
  const auto behind = std::partition_point(ranges_.begin(), ranges_.end(),
                                           [&](const Range& r) { return r.first < limit.value; });
  if (behind == ranges_.begin()) return Seq(0);
  return Seq(std::min(std::prev(behind)->end, limit.value) - 1);
}

std::vector<std::pair<Seq, uint64_t>> SeqSet::gaps(Seq floor, Seq top) {
  normalise();
  std::vector<std::pair<Seq, uint64_t>> out;
  uint64_t next = floor.value + 1;
  for (const Range& range : ranges_) {
    if (range.first > top.value) break;
    if (range.first > next) out.emplace_back(Seq(next), range.first - next);
    next = std::max(next, range.end);
  }
  if (next <= top.value) out.emplace_back(Seq(next), top.value + 1 - next);
  return out;
}

}  // namespace latte
