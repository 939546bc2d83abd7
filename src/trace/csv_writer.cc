#include "trace/csv_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "trace/trace_reader.h"

namespace latte::trace {
namespace {

constexpr char letter(TraceOp op) {
  switch (op) {
    case TraceOp::read:
      return 'R';
    case TraceOp::write:
      return 'W';
    case TraceOp::discard:
      return 'D';
    case TraceOp::flush:
      break;
  }
  return 'F';
}

bool has_place(const TraceRecord& record) {
  if (record.op == TraceOp::flush) return true;
  const uint64_t most =
      record.op == TraceOp::discard ? kMaxTraceLengthBytes : kMaxTraceTransferBytes;
  return record.length_bytes > 0 && record.length_bytes <= most &&
         record.offset_bytes <= kMaxTraceBytes - record.length_bytes;
}

}  // namespace

bool CsvWriter::meets_another(const TraceRecord& record) const {
  if (record.op == TraceOp::flush) return false;
  return std::any_of(same_instant_.begin(), same_instant_.end(),
                     [&](const TraceRecord& other) { return order_matters(record, other); });
}

bool CsvWriter::add(const TraceRecord& record, std::string& out) {
  if (!has_place(record)) return false;
  auto time_us = static_cast<uint64_t>(std::max<TimeNs>(0, record.time_ns) / kMicrosecond);
  time_us = std::max(time_us, time_us_);
  const bool full = same_instant_.size() == kMaxSameInstant;
  if (time_us == time_us_ && (full || meets_another(record))) ++time_us;
  if (time_us != time_us_) same_instant_.clear();
  time_us_ = time_us;
  if (record.op != TraceOp::flush) same_instant_.push_back(record);
  const bool flush = record.op == TraceOp::flush;
  fmt::format_to(std::back_inserter(out), "{},{},{},{}\n", time_us, letter(record.op),
                 flush ? 0 : record.offset_bytes, flush ? 0 : record.length_bytes);
  return true;
}

}  // namespace latte::trace
