// TraceRecord: one request of a block trace, whatever form the trace has; TraceFault: what can be
// wrong with one.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace latte::trace {

enum class TraceOp : uint8_t { read, write, discard, flush };

struct TraceRecord {
  TimeNs time_ns = 0;  ///< when it was submitted, on the trace's own clock
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;  ///< 0 for a flush, more than 0 for all else
  TraceOp op = TraceOp::read;
};

/// True if it matters which of two requests came first: they meet, and one of them writes. Neither
/// is a flush; both end at kMaxTraceBytes at most.
constexpr bool order_matters(const TraceRecord& a, const TraceRecord& b) {
  const bool both_read = a.op == TraceOp::read && b.op == TraceOp::read;
  return !both_read && a.offset_bytes < b.offset_bytes + b.length_bytes &&
         b.offset_bytes < a.offset_bytes + a.length_bytes;
}

/// Largest offset and end of a request: what a signed 64-bit file offset can name.
inline constexpr uint64_t kMaxTraceBytes = (uint64_t{1} << 63) - 1;
/// Longest discard taken for one.
inline constexpr uint64_t kMaxTraceLengthBytes = uint64_t{1} << 40;
/// Longest read or write taken for one; real devices cut them at a few MiB.
inline constexpr uint64_t kMaxTraceTransferBytes = uint64_t{1} << 30;

/// What is wrong with a record. Each is an error, or with `lenient` a record skipped and counted.
enum class TraceFault : uint8_t {
  garbage,       ///< it does not follow the format
  truncated,     ///< it ends too soon
  out_of_order,  ///< earlier than the record before it
  overlapping,  ///< meets another of the same instant, and one of them writes: the order is unknown
  out_of_range,  ///< offset or end beyond kMaxTraceBytes
  zero_length,   ///< moves no bytes
  too_long,      ///< beyond kMaxTraceTransferBytes, a discard beyond kMaxTraceLengthBytes
  other_device,  ///< of another device than the one that is read
};
inline constexpr size_t kTraceFaults = 8;

/// The fault as people read it ("out of order").
constexpr const char* to_string(TraceFault fault) {
  switch (fault) {
    case TraceFault::garbage:
      return "garbage";
    case TraceFault::truncated:
      return "truncated";
    case TraceFault::out_of_order:
      return "out of order";
    case TraceFault::overlapping:
      return "overlapping";
    case TraceFault::out_of_range:
      return "offset beyond 2^63";
    case TraceFault::zero_length:
      return "zero length";
    case TraceFault::too_long:
      return "too long";
    case TraceFault::other_device:
      return "other device";
  }
  return "unknown";
}

}  // namespace latte::trace
