#include "log/segment_read_ahead.h"

#include <utility>

#include "base/check.h"

namespace latte::log {

SegmentReadAhead::SegmentReadAhead(SegmentSpace& space, std::vector<Wanted> wanted)
    : space_(space), wanted_(std::move(wanted)), loaded_(space.reactor()) {}

Task<SegmentContent> SegmentReadAhead::next() {
  LATTE_CHECK(taken_ < wanted_.size());
  // One task a segment, none of which waits for another: a killed process leaves no links between
  // them, in whatever order they are destroyed.
  while (started_ < wanted_.size() && started_ < taken_ + slots_.size()) {
    Task<void> task = load(started_++);
    space_.reactor().spawn(std::move(task));
  }
  Slot& slot = slot_of(taken_);
  while (!slot.loaded) co_await loaded_.wait();
  slot.loaded = false;
  ++taken_;
  co_return std::move(slot.content);
}

Task<void> SegmentReadAhead::load(size_t index) {
  const Wanted& wanted = wanted_[index];
  SegmentContent content = co_await load_segment(space_, wanted.found, wanted.limit_block);
  Slot& slot = slot_of(index);
  LATTE_CHECK(!slot.loaded);
  slot.content = std::move(content);
  slot.loaded = true;
  loaded_.notify_all();
}

}  // namespace latte::log
