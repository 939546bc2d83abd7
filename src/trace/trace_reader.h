// TraceReader: the requests of a block trace, one after another, in any of the forms of
// TraceFormat, packed or not.
//
// Invariants of what next() gives: times don't go back; every request but a flush moves bytes, ends
// at kMaxTraceBytes at most; two of the same instant meet only if both read.
// A record that breaks this is an error that names file, line (or record) and value; with `lenient`
// it is skipped and counted.
// Thread rule: one thread at a time. Limits: among more than kMaxSameInstant records of one instant
// overlaps are looked for in the last ones only.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "trace/record_parser.h"
#include "trace/trace_format.h"
#include "trace/trace_input.h"
#include "trace/trace_record.h"

namespace latte::trace {

inline constexpr size_t kMaxSameInstant = 64;

struct TraceOptions {
  std::optional<TraceFormat> format{};  ///< told from the first bytes if left out
  bool lenient = false;
  ParserOptions parser{};
};

struct TraceCounts {
  uint64_t records = 0;  ///< given out
  std::array<uint64_t, kTraceFaults> skipped{};
  std::string first_skipped;  ///< the first skipped record's error

  uint64_t skipped_total() const;
  /// "3 out of order, 1 garbage", for people; empty if none was skipped.
  std::string describe_skipped() const;
};

class TraceReader {
 public:
  /// Opens the file at `path`. Errors: not_found, io, damaged, invalid (form not recognised).
  static Result<std::unique_ptr<TraceReader>> open(const std::string& path,
                                                   const TraceOptions& options);
  /// The same for bytes in memory, which outlive the reader; `name` stands in errors.
  static Result<std::unique_ptr<TraceReader>> of_memory(std::span<const char> bytes,
                                                        std::string name,
                                                        const TraceOptions& options);

  /// The next request; false at the end. Errors: invalid (a bad record), damaged (packed data), io.
  /// After an error there is no going on.
  Result<bool> next(TraceRecord& out);

  TraceFormat format() const { return format_; }
  const TraceCounts& counts() const { return counts_; }
  /// Of the file, for progress; total is 0 for a pipe.
  uint64_t consumed_bytes() const { return input_.source().consumed_bytes(); }
  uint64_t total_bytes() const { return input_.source().total_bytes(); }

 private:
  TraceReader(std::unique_ptr<ByteSource> source, std::string name, const TraceOptions& options);
  static Result<std::unique_ptr<TraceReader>> start(Result<std::unique_ptr<ByteSource>> source,
                                                    std::string name, const TraceOptions& options);
  Parsed parse(const TraceInput::Piece& piece, TraceRecord& out);
  Parsed check(const TraceRecord& record);
  bool meets_another(const TraceRecord& record) const;
  Result<bool> at_end();
  /// The error of a bad record, or nothing after counting it.
  std::optional<Error> refuse(TraceFault fault, const std::string& detail);

  TraceInput input_;
  std::string name_;
  bool lenient_;
  TraceFormat format_ = TraceFormat::csv;
  std::unique_ptr<RecordParser> parser_;
  uint64_t number_ = 0;  // of the line or record, from 1
  TimeNs last_time_ns_ = INT64_MIN;
  std::deque<TraceRecord> same_instant_;
  TraceCounts counts_;
};

}  // namespace latte::trace
