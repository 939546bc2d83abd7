// Reading segments back: headers, a sealed segment's table, or record by record where there is
// none. For recovery, the applier, take-over and the offline check. Everything read is untrusted.
//
// Thread rule: one reactor.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/buffer.h"
#include "base/io_status.h"
#include "log/log_format.h"
#include "log/segment_space.h"
#include "runtime/task.h"

namespace latte::log {

/// A segment whose header is valid.
struct FoundSegment {
  uint32_t segment = 0;
  SegmentHeader header;
  bool sealed = false;   ///< footer valid and of this life
  SegmentFooter footer;  ///< if sealed
};

/// Reads the header of every segment, and the footer of those in use. Segments that hold nothing
/// recognisable are left out; `unreadable` counts those whose header could not be read (device
/// error). `progress` (may be empty) is called with segments done.
Task<std::vector<FoundSegment>> find_segments(Reactor& reactor, SegmentSpace& space,
                                              uint64_t* unreadable);

/// A segment of a stream's chain, known by its salt, with its footer if it has one.
Task<FoundSegment> find_footer(SegmentSpace& space, uint32_t segment, uint64_t salt);

/// What a segment holds, from its table or its records.
struct SegmentContent {
  std::vector<TableEntry> entries;
  std::vector<uint32_t> crcs;       ///< stored CRCs, in the order of the entries' data blocks
  std::vector<int64_t> wall_times;  ///< per entry, only from records; empty from a table
  uint32_t end_block = 1;           ///< end of the last record
  LogPosition durable;              ///< highest durable mark seen
  LogPosition completed;            ///< of completed writes, as the last record says
  uint64_t boot_id = 0;             ///< power session of the last record
  uint32_t record_count = 0;
  bool from_table = false;
  bool unreadable = false;  ///< a device error ended the reading
  /// Records were found again behind a place where none was valid: something in between is damaged.
  bool gap_inside = false;
  uint32_t gap_block = 0;  ///< where it begins
};

/// A mismatch is believed when it shows so many times in a row: a bit may flip on its way from the
/// device.
inline constexpr int kReadTries = 3;

/// Loads a segment's entries. Reads the table of a sealed segment; falls back to its records, up to
/// `limit_block`.
Task<SegmentContent> load_segment(SegmentSpace& space, const FoundSegment& found,
                                  uint32_t limit_block);

/// Reads [first, first + data.size() / kBlockBytes) of the space in requests the device takes.
Task<IoStatus> read_blocks(SegmentSpace& space, BlockAddress first, std::span<std::byte> data);

}  // namespace latte::log
