// UnderWay: I/Os on device models that have begun and not ended, the one that ends first in front;
// with each, what its end is to be told.
// Thread rule: an object belongs to one thread.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/units.h"

namespace latte::study {

template <typename Note>
class UnderWay {
 public:
  void add(TimeNs end_ns, Note note) {
    heap_.push_back({end_ns, std::move(note)});
    std::push_heap(heap_.begin(), heap_.end(), later);
  }
  bool empty() const { return heap_.empty(); }
  /// Has one ended by `now_ns`?
  bool ended(TimeNs now_ns) const { return !empty() && heap_.front().end_ns <= now_ns; }
  /// Takes the one that ends first, and when that is. REQUIRES !empty().
  std::pair<TimeNs, Note> take_first() {
    LATTE_CHECK(!empty());
    std::pop_heap(heap_.begin(), heap_.end(), later);
    std::pair<TimeNs, Note> first{heap_.back().end_ns, std::move(heap_.back().note)};
    heap_.pop_back();
    return first;
  }

 private:
  struct Item {
    TimeNs end_ns;
    Note note;
  };
  static bool later(const Item& a, const Item& b) { return a.end_ns > b.end_ns; }

  std::vector<Item> heap_;
};

}  // namespace latte::study
