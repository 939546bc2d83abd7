// Recovery of one stream: which segments belong to it, where it ends, and every entry in order. It
// reads tables, not data, except for what was not yet flushed: that is verified block by block.
//
// What it returns is a prefix of what was appended, holding at least everything flushed, and
// everything completed as well if the machine has not lost power since. Where that can't be had
// (bytes that were durable fail their checks), it says so through StreamVisitor::on_damage and goes
// on behind the damage. If that reaches beyond what is known to be durable it may hide where an
// earlier recovery ended the stream, and what that one dropped looks as if it followed. A later
// write that is not settled shows that it does follow: dropped ones are settled before new ones
// come. If there is none, nothing of the stream is kept: only damage tells which of it is stale,
// and what comes next would hide that.
//
// Thread rule: one reactor.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "log/log_format.h"
#include "log/log_stream.h"
#include "log/segment_reader.h"
#include "log/segment_space.h"

namespace latte::log {

/// Receives a stream's entries in log order.
class StreamVisitor {
 public:
  virtual ~StreamVisitor() = default;
  /// `address` and `stored_crcs` are those of the entry's data, if it has any. `wall_time_ns` is
  /// that of its record or, read from a table, of its segment.
  virtual void on_entry(const Entry& entry, BlockAddress address,
                        std::span<const uint32_t> stored_crcs, LogPosition position,
                        int64_t wall_time_ns) = 0;
  /// Durable entries at and perhaps after `position` can't be read. What follows is intact again,
  /// but settled writes among it may have been dropped by an earlier recovery.
  virtual void on_damage(LogPosition position, const std::string& what) = 0;
};

struct StreamRecovery : LogStream::Resumed {
  uint64_t max_seq = 0;            ///< highest seq seen, in discarded entries too
  uint64_t unreadable = 0;         ///< segments the device failed to read: nothing is known of them
  uint64_t discarded_entries = 0;  ///< not flushed and behind a gap
  /// Segments of a stream of which nothing is kept: to be released when a tail of `next_order` is
  /// durable.
  std::vector<uint32_t> dropped;
};

struct StreamRecoveryOptions {
  Uuid disk_id;
  uint64_t epoch = 0;       ///< segments of lower generations are void
  uint64_t tail_order = 0;  ///< segments below are void
  uint64_t boot_id = 0;     ///< of the present power session; see Reactor::boot_id()
  LogPosition flushed{};    ///< what is known from elsewhere to have been flushed
  /// What is known elsewhere of every write up to this one: whether it happened, and its data.
  uint64_t settled_seq = 0;
};

/// Those of the found segments that may belong to the stream's present content.
std::vector<FoundSegment> own_segments(const StreamRecoveryOptions& options,
                                       const std::vector<FoundSegment>& found);

/// Recovers a stream from the segments that find_segments() found. Its segments, and dropped ones,
/// end up claimed in the space, void ones free.
Task<StreamRecovery> recover_stream(SegmentSpace& space, StreamRecoveryOptions options,
                                    const std::vector<FoundSegment>& found, StreamVisitor& visitor);

}  // namespace latte::log
