#include "log_marks.h"

#include <algorithm>
#include <cstring>

#include "base/buffer.h"

namespace latte::simtest {
namespace {

void copy_out(const sim::PageRef& page, std::span<std::byte> to) {
  if (page.null())
    std::memset(to.data(), 0, to.size());
  else
    std::memcpy(to.data(), page.data(), to.size());
}

}  // namespace

LogMarks::LogMarks(const sim::PageStore& store) {
  Buffer block(kBlockBytes);
  for (uint64_t copy = 0; copy < 2 && segment_pages_ == 0; ++copy) {
    copy_out(store.peek(copy), block.span());
    const auto super = log::parse_space_super(block.span(), "space");
    if (!super) continue;
    first_page_ = super.value().first_segment_offset / kBlockBytes;
    segment_pages_ = super.value().segment_bytes / kBlockBytes;
    segments_.resize(super.value().segment_count);
  }
  for (size_t i = 0; i < segments_.size(); ++i)
    load(store, segments_[i], first_page_ + i * segment_pages_);
  drop_cut_off();
}

void LogMarks::load(const sim::PageStore& store, Segment& segment, uint64_t first_page) const {
  Buffer bytes(segment_pages_ * kBlockBytes);
  for (uint64_t i = 0; i < segment_pages_; ++i)
    copy_out(store.peek_durable(first_page + i),
             bytes.span().subspan(i * kBlockBytes, kBlockBytes));
  const auto blocks = static_cast<uint32_t>(segment_pages_);
  const sim::PageRef now = store.peek(first_page);
  segment.changing = !now.null() && std::memcmp(now.data(), bytes.data(), kBlockBytes) != 0;
  segment.in_use = log::parse_segment_header(bytes.span().first(kBlockBytes), segment.header);
  if (!segment.in_use) return;
  segment.mark = segment.header.durable;
  log::SegmentFooter footer;
  if (log::parse_segment_footer(bytes.span().last(kBlockBytes), blocks, footer) &&
      footer.salt == segment.header.salt)
    segment.mark = std::max(segment.mark, footer.durable);
  // Records follow one another; the first that does not parse ends what this can rely on.
  for (uint32_t at = 1; at < blocks;) {
    log::RecordView record;
    uint32_t need = 0;
    const auto rest = bytes.span().subspan(size_t{at} * kBlockBytes);
    if (!log::parse_record(rest, segment.header.salt, at, blocks, record, need)) break;
    segment.mark = std::max(segment.mark, record.header.durable);
    at += record.total_blocks();
  }
}

/// Segments that a later generation wrote over, or cut off, count for nothing.
void LogMarks::drop_cut_off() {
  for (Segment& old : segments_) {
    for (const Segment& next : segments_) {
      if (!old.in_use || !next.in_use || next.header.disk_id != old.header.disk_id) continue;
      if (next.header.generation <= old.header.generation) continue;
      if (old.header.order > next.header.previous_end.order) old.in_use = false;
    }
  }
}

bool LogMarks::covered(uint64_t page) const {
  if (segment_pages_ == 0 || page < first_page_) return true;
  const uint64_t index = (page - first_page_) / segment_pages_;
  if (index >= segments_.size()) return true;
  const Segment& segment = segments_[index];
  if (segment.changing) return false;
  if (!segment.in_use) return true;
  const log::LogPosition position{segment.header.order, (page - first_page_) % segment_pages_};
  return std::any_of(segments_.begin(), segments_.end(), [&](const Segment& other) {
    // Without its header a segment says nothing any more.
    const bool own_header = &other == &segment && position.block == 0;
    return !own_header && other.in_use && !other.damaged &&
           other.header.disk_id == segment.header.disk_id && other.mark > position;
  });
}

void LogMarks::damaged(uint64_t page) {
  if (segment_pages_ == 0 || page < first_page_) return;
  const uint64_t index = (page - first_page_) / segment_pages_;
  if (index < segments_.size()) segments_[index].damaged = true;
}

}  // namespace latte::simtest
