#include "log/recovery.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/planted.h"
#include "log/segment_read_ahead.h"

namespace latte::log {
namespace {

struct Link {
  FoundSegment found;
  uint32_t limit_block = 0;  // where the next segment says that this one ended
  bool missing_before = false;
};

/// Orders the segments and drops those that a former recovery cut off.
std::vector<Link> link_segments(const StreamRecoveryOptions& options, std::vector<FoundSegment> own,
                                uint32_t segment_blocks) {
  std::sort(own.begin(), own.end(), [](const FoundSegment& a, const FoundSegment& b) {
    if (a.header.order != b.header.order) return a.header.order < b.header.order;
    return a.header.generation < b.header.generation;
  });
  std::vector<Link> chain;
  for (const FoundSegment& item : own) {
    const LogPosition previous = item.header.previous_end;
    while (!chain.empty() && (chain.back().found.header.order > previous.order ||
                              chain.back().found.header.order == item.header.order))
      chain.pop_back();
    Link link{item, segment_blocks, false};
    if (!chain.empty() && chain.back().found.header.order == previous.order)
      chain.back().limit_block =
          std::min(segment_blocks,
                   static_cast<uint32_t>(std::min<uint64_t>(previous.block, segment_blocks)));
    else
      link.missing_before = previous.order >= options.tail_order && previous.order != 0;
    chain.push_back(link);
  }
  return chain;
}

class Recoverer {
 public:
  Recoverer(SegmentSpace& space, StreamVisitor& visitor, std::vector<Link> links,
            const StreamRecoveryOptions& options, StreamRecovery& out)
      : space_(space),
        visitor_(visitor),
        links_(std::move(links)),
        boot_id_(options.boot_id),
        settled_seq_(options.settled_seq),
        out_(out),
        flushed_(options.flushed),
        read_ahead_(space, wanted_segments()) {}

  /// After run(): may the stream have ended before, at damage?
  bool hides_end() const { return hides_end_; }

  Task<void> run() {
    co_await find_durable_mark();
    for (size_t i = 0; i < links_.size(); ++i) {
      if (links_[i].missing_before)
        hole(out_.end, {links_[i].found.header.order, 0}, "a segment is missing");
      co_await take_segment(i);
    }
    if (out_.end < flushed_) hole(out_.end, flushed_, "the log ends before what had been flushed");
    out_.durable = std::min(flushed_, out_.end);
  }

 private:
  /// How far nothing can be missing but by damage.
  Task<void> find_durable_mark() {
    LogPosition completed;
    for (const Link& link : links_) {
      flushed_ = std::max(flushed_, link.found.header.durable);
      if (link.found.sealed) flushed_ = std::max(flushed_, link.found.footer.durable);
      if (same_boot(link)) completed = std::max(completed, link.found.header.completed);
    }
    if (!links_.empty() && !links_.back().found.sealed) {
      // Only the last segment's records can carry higher marks than a later segment's header.
      last_ = co_await load_segment(space_, links_.back().found, links_.back().limit_block);
      flushed_ = std::max(flushed_, last_.durable);
      if (boot_id_ != 0 && last_.boot_id == boot_id_)
        completed = std::max(completed, last_.completed);
    }
    durable_ = std::max(flushed_, completed);
  }

  /// The last segment without a footer is loaded before the others, for its marks.
  bool loaded_first(size_t i) const { return i + 1 == links_.size() && !links_[i].found.sealed; }

  std::vector<SegmentReadAhead::Wanted> wanted_segments() const {
    std::vector<SegmentReadAhead::Wanted> wanted;
    for (size_t i = 0; i < links_.size(); ++i)
      if (!loaded_first(i)) wanted.push_back({links_[i].found, links_[i].limit_block});
    return wanted;
  }

  bool same_boot(const Link& link) const {
    return boot_id_ != 0 && link.found.header.boot_id == boot_id_;
  }

  /// What lies from `at` to `end` is not readable: the end of what survived, or damage.
  void hole(LogPosition at, LogPosition end, const std::string& what) {
    if (cut_) return;
    if (planted(Planted::recovery_ignores_order)) return;
    if (at < durable_) {
      visitor_.on_damage(at, what);
      hides_end_ |= settled_seq_ > 0 && durable_ < end;
      return;
    }
    cut_ = true;
    out_.end = at;
  }

  Task<void> take_segment(size_t i) {
    const Link& link = links_[i];
    const uint64_t order = link.found.header.order;
    const bool is_last = i + 1 == links_.size();
    const bool preloaded = loaded_first(i);
    SegmentContent content;
    if (preloaded)
      content = std::move(last_);
    else
      content = co_await read_ahead_.next();
    if (content.unreadable) ++out_.unreadable;
    space_.set_order(link.found.segment, order);
    LogStream::ChainSegment segment{link.found.segment, order, link.found.header.salt, 0, 1,
                                    link.found.sealed};
    const bool was_cut = cut_;
    co_await visit_entries(link, content, segment);
    const LogPosition segment_end{order, link.limit_block};
    const bool short_of_next = !is_last && content.end_block < link.limit_block;
    if (!cut_ && content.gap_inside)
      hole(LogPosition{order, content.gap_block}, segment_end,
           fmt::format("segment {} is damaged at block {}", link.found.segment, content.gap_block));
    else if (!cut_ && short_of_next && !content.unreadable)
      hole(LogPosition{order, content.end_block}, segment_end,
           fmt::format("segment {} ends at block {} instead of {}", link.found.segment,
                       content.end_block, link.limit_block));
    if (was_cut) co_return;
    out_.chain.push_back(segment);
    // A last segment that ends cleanly goes on. Behind a cut there may be records that look valid.
    // One without any record (its first was lost with the power) could never be sealed: it ends
    // here.
    const bool clean = !cut_ && !content.unreadable && !content.gap_inside;
    if (preloaded && clean && content.record_count > 0) {
      LATTE_CHECK(segment.used_blocks == content.end_block);
      out_.open = true;
      out_.next_index = content.record_count;
      out_.table = std::move(content.entries);
      out_.table_crcs = std::move(content.crcs);
    }
    if (!cut_) out_.end = LogPosition{order, segment.used_blocks};
  }

  Task<void> visit_entries(const Link& link, const SegmentContent& content,
                           LogStream::ChainSegment& segment) {
    size_t crc_at = 0;
    for (size_t i = 0; i < content.entries.size(); ++i) {
      const TableEntry& item = content.entries[i];
      const uint32_t blocks =
          has_data(item.entry.kind) ? static_cast<uint32_t>(item.entry.count) : 0;
      const auto crcs = std::span(content.crcs).subspan(crc_at, blocks);
      crc_at += blocks;
      if (item.entry.kind != EntryKind::cut && item.entry.kind != EntryKind::empty)
        out_.max_seq = std::max(out_.max_seq, item.entry.seq);
      else
        out_.max_seq = std::max(out_.max_seq, item.entry.seq + item.entry.count - 1);
      const LogPosition position{segment.order, item.record_block};
      const bool new_record = i == 0 || content.entries[i - 1].record_block != item.record_block;
      if (item.record_block >= link.limit_block) continue;
      if (!cut_ && new_record && position >= durable_) {
        bool intact = false;
        for (int tries = 0; tries < kReadTries && !intact; ++tries)
          intact = co_await verify_record(link, content, i, crc_at - blocks);
        if (!intact)
          hole(position, position,
               fmt::format("segment {}: record at block {} is damaged", segment.segment,
                           item.record_block));
      }
      if (cut_) {
        ++out_.discarded_entries;
        continue;
      }
      if (last_seq_of(item.entry) > settled_seq_) hides_end_ = false;
      segment.max_seq = std::max(segment.max_seq, last_seq_of(item.entry));
      segment.used_blocks = std::max(segment.used_blocks,
                                     blocks > 0 ? item.data_block + blocks : item.record_block + 1);
      const int64_t wall =
          content.wall_times.empty() ? link.found.header.wall_time_ns : content.wall_times[i];
      visitor_.on_entry(item.entry, space_.address(segment.segment, item.data_block), crcs,
                        position, wall);
    }
    if (!cut_)
      segment.used_blocks =
          std::max(segment.used_blocks, std::min(content.end_block, link.limit_block));
  }

  /// Checks the data of the record whose first entry is `first`, read in one piece.
  Task<bool> verify_record(const Link& link, const SegmentContent& content, size_t first,
                           size_t crc_at) {
    uint64_t blocks = 0;
    uint32_t start = 0;
    for (size_t i = first; i < content.entries.size(); ++i) {
      const TableEntry& item = content.entries[i];
      if (item.record_block != content.entries[first].record_block) break;
      if (!has_data(item.entry.kind)) continue;
      if (blocks == 0) start = item.data_block;
      blocks += item.entry.count;
    }
    if (blocks == 0) co_return true;
    if (start + blocks > space_.segment_blocks()) co_return false;
    Buffer data(blocks * kBlockBytes);
    const IoStatus status =
        co_await read_blocks(space_, space_.address(link.found.segment, start), data.span());
    if (status != IoStatus::ok) {
      ++out_.unreadable;
      co_return true;
    }
    uint64_t at = 0;
    for (size_t i = first; at < blocks; ++i) {
      const TableEntry& item = content.entries[i];
      if (!has_data(item.entry.kind)) continue;
      for (uint64_t b = 0; b < item.entry.count; ++b, ++at) {
        const uint32_t crc = crc32c(data.span().subspan(at * kBlockBytes, kBlockBytes));
        if (bound_crc(crc, Lba(item.entry.lba + b), Seq(item.entry.seq)) != content.crcs[crc_at++])
          co_return false;
      }
    }
    co_return true;
  }

  SegmentSpace& space_;
  StreamVisitor& visitor_;
  std::vector<Link> links_;
  uint64_t boot_id_;
  uint64_t settled_seq_;
  StreamRecovery& out_;
  LogPosition flushed_;
  SegmentReadAhead read_ahead_;
  SegmentContent last_;
  LogPosition durable_;  // flushed, or completed under the present boot
  bool cut_ = false;
  bool hides_end_ = false;  // damage may, and nothing that is not settled came since
};

/// Keeps nothing of what was recovered.
void drop_all(const std::vector<FoundSegment>& own, StreamRecovery& out) {
  LogStream::Resumed none;
  none.next_order = out.next_order;
  none.end = none.durable = LogPosition{out.next_order - 1, UINT32_MAX};
  static_cast<LogStream::Resumed&>(out) = std::move(none);
  for (const FoundSegment& item : own) out.dropped.push_back(item.segment);
}

}  // namespace

std::vector<FoundSegment> own_segments(const StreamRecoveryOptions& options,
                                       const std::vector<FoundSegment>& found) {
  std::vector<FoundSegment> own;
  for (const FoundSegment& item : found) {
    if (item.header.disk_id != options.disk_id) continue;
    if (item.header.generation < options.epoch && !planted(Planted::stale_epoch_accepted)) continue;
    if (item.header.order >= options.tail_order) own.push_back(item);
  }
  return own;
}

Task<StreamRecovery> recover_stream(SegmentSpace& space, StreamRecoveryOptions options,
                                    const std::vector<FoundSegment>& found,
                                    StreamVisitor& visitor) {
  StreamRecovery out;
  const auto own = own_segments(options, found);
  for (const FoundSegment& item : own) {
    out.next_order = std::max(out.next_order, item.header.order + 1);
    if (space.is_free(item.segment)) space.claim(item.segment);
  }
  for (const FoundSegment& item : found)
    if (item.header.disk_id == options.disk_id)
      out.next_order = std::max(out.next_order, item.header.order + 1);
  out.next_order = std::max(out.next_order, options.tail_order);
  auto links = link_segments(options, own, space.segment_blocks());
  // Before the tail lies nothing that could be missing.
  if (options.tail_order > 0) out.end = LogPosition{options.tail_order - 1, UINT32_MAX};
  Recoverer recoverer(space, visitor, std::move(links), options, out);
  co_await recoverer.run();
  if (recoverer.hides_end()) {
    drop_all(own, out);
    co_return out;
  }
  // What did not make it into the chain is void: its records are excluded by the next segment's
  // header.
  for (const FoundSegment& item : own) {
    const bool kept = std::any_of(out.chain.begin(), out.chain.end(), [&](const auto& segment) {
      return segment.segment == item.segment;
    });
    if (!kept) space.release(item.segment);
  }
  co_return out;
}

}  // namespace latte::log
