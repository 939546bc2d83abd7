#include "log/extent_map.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"

namespace latte {

uint64_t ExtentMap::blocks(ExtentKind kind) const {
  uint64_t total = 0;
  for (const auto& [start, range] : ranges_)
    if (range.kind == kind) total += range.end - start;
  return total;
}

ExtentMap::Hit ExtentMap::find(Lba lba, uint64_t limit) const {
  Hit hit;
  hit.run = limit;
  if (ranges_.empty()) return hit;
  auto next = ranges_.upper_bound(lba.value);
  if (next != ranges_.begin()) {
    const auto& [start, range] = *std::prev(next);
    if (range.end > lba.value) {
      hit.found = true;
      hit.kind = range.kind;
      hit.seq = range.seq;
      hit.run = std::min(limit, range.end - lba.value);
      return hit;
    }
  }
  if (next != ranges_.end()) hit.run = std::min(limit, next->first - lba.value);
  return hit;
}

void ExtentMap::split_at(uint64_t lba) {
  auto next = ranges_.upper_bound(lba);
  if (next == ranges_.begin()) return;
  auto it = std::prev(next);
  if (it->first == lba || it->second.end <= lba) return;
  Range tail = it->second;
  it->second.end = lba;
  ranges_.emplace_hint(next, lba, tail);
}

void ExtentMap::erase(Lba lba, uint64_t count) {
  if (ranges_.empty() || count == 0) return;
  const uint64_t end = lba.value + count;
  split_at(lba.value);
  split_at(end);
  ranges_.erase(ranges_.lower_bound(lba.value), ranges_.lower_bound(end));
}

void ExtentMap::set(Lba lba, uint64_t count, ExtentKind kind, Seq seq) {
  LATTE_CHECK(count > 0);
  erase(lba, count);
  ranges_.emplace(lba.value, Range{lba.value + count, kind, seq});
}

void ExtentMap::set_if_newer(Lba lba, uint64_t count, ExtentKind kind, Seq seq) {
  std::vector<std::pair<Lba, uint64_t>> newer;
  for_each_in(lba, count, [&](Lba from, uint64_t length, const Range& range) {
    if (range.seq > seq) newer.emplace_back(from, length);
  });
  uint64_t at = lba.value;
  for (const auto& [from, length] : newer) {
    if (from.value > at) set(Lba(at), from.value - at, kind, seq);
    at = from.value + length;
  }
  if (at < lba.value + count) set(Lba(at), lba.value + count - at, kind, seq);
}

void ExtentMap::erase_up_to(Lba lba, uint64_t count, Seq seq) {
  if (ranges_.empty() || count == 0) return;
  std::vector<std::pair<Lba, uint64_t>> old;
  for_each_in(lba, count, [&](Lba from, uint64_t length, const Range& range) {
    if (range.seq <= seq) old.emplace_back(from, length);
  });
  for (const auto& [from, length] : old) erase(from, length);
}

}  // namespace latte
