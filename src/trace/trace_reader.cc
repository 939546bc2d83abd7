#include "trace/trace_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace latte::trace {
namespace {

std::unique_ptr<RecordParser> make_parser(TraceFormat format, const ParserOptions& options) {
  switch (format) {
    case TraceFormat::csv:
      return make_csv_parser();
    case TraceFormat::msr:
      return make_msr_parser(options);
    case TraceFormat::vscsi1:
      return make_vscsi_parser(1);
    case TraceFormat::vscsi2:
      return make_vscsi_parser(2);
    case TraceFormat::fio:
      return make_fio_parser(options);
    case TraceFormat::blkparse:
      return make_blkparse_parser(options);
  }
  LATTE_CHECK(false);
  return nullptr;
}

}  // namespace

uint64_t TraceCounts::skipped_total() const {
  uint64_t total = 0;
  for (const uint64_t count : skipped) total += count;
  return total;
}

std::string TraceCounts::describe_skipped() const {
  std::string text;
  for (size_t i = 0; i < skipped.size(); ++i)
    if (skipped[i] > 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", skipped[i],
                          to_string(static_cast<TraceFault>(i)));
  return text;
}

TraceReader::TraceReader(std::unique_ptr<ByteSource> source, std::string name,
                         const TraceOptions& options)
    : input_(std::move(source)), name_(std::move(name)), lenient_(options.lenient) {}

Result<std::unique_ptr<TraceReader>> TraceReader::open(const std::string& path,
                                                       const TraceOptions& options) {
  return start(open_byte_source(path), path, options);
}

Result<std::unique_ptr<TraceReader>> TraceReader::of_memory(std::span<const char> bytes,
                                                            std::string name,
                                                            const TraceOptions& options) {
  auto source = memory_byte_source(bytes, name);
  return start(std::move(source), std::move(name), options);
}

Result<std::unique_ptr<TraceReader>> TraceReader::start(Result<std::unique_ptr<ByteSource>> source,
                                                        std::string name,
                                                        const TraceOptions& options) {
  if (!source) return source.error();
  std::unique_ptr<TraceReader> reader(new TraceReader(source.take(), std::move(name), options));
  const std::string_view beginning = reader->input_.ahead();
  const auto format = options.format ? options.format : detect_trace_format(beginning);
  if (!format && !beginning.empty())
    return Error{Errc::invalid,
                 fmt::format("trace {}: line 1 is of no form that is known; if it is damaged, name "
                             "the form with --format ({})",
                             reader->name_, kTraceFormatNames)};
  reader->format_ = format.value_or(TraceFormat::csv);  // an empty trace
  reader->parser_ = make_parser(reader->format_, options.parser);
  return reader;
}

Result<bool> TraceReader::next(TraceRecord& out) {
  for (;;) {
    const size_t record_bytes = parser_->record_bytes();
    auto piece = record_bytes == 0 ? input_.line() : input_.record(record_bytes);
    if (!piece) {
      if (!lenient_ || piece.error().code != Errc::damaged) return piece.error();
      (void)refuse(TraceFault::truncated, piece.error().message);
      return at_end();
    }
    if (piece.value().end) return at_end();
    ++number_;
    Parsed parsed = parse(piece.value(), out);
    if (parsed.kind == Parsed::Kind::record) parsed = check(out);
    if (parsed.kind == Parsed::Kind::record) {
      ++counts_.records;
      return true;
    }
    if (parsed.kind == Parsed::Kind::nothing) continue;
    if (auto error = refuse(parsed.fault, parsed.detail)) return std::move(*error);
  }
}

Parsed TraceReader::parse(const TraceInput::Piece& piece, TraceRecord& out) {
  if (piece.too_long)
    return Parsed::garbage(fmt::format("the line is longer than {} bytes", kMaxLineBytes));
  if (parser_->record_bytes() != 0 && !piece.complete)
    return Parsed::bad(TraceFault::truncated, fmt::format("{} of its {} bytes", piece.bytes.size(),
                                                          parser_->record_bytes()));
  if (piece.bytes.empty()) return Parsed::nothing();
  Parsed parsed = parser_->parse(piece.bytes, out);
  if (parsed.kind == Parsed::Kind::fault && parsed.fault == TraceFault::garbage && !piece.complete)
    parsed.fault = TraceFault::truncated;  // a last line without its end
  return parsed;
}

/// A record beside those before it, and its range.
Parsed TraceReader::check(const TraceRecord& record) {
  if (record.op != TraceOp::flush) {
    if (record.offset_bytes > kMaxTraceBytes || record.length_bytes > kMaxTraceBytes ||
        record.offset_bytes > kMaxTraceBytes - record.length_bytes)
      return Parsed::bad(
          TraceFault::out_of_range,
          fmt::format("offset {}, length {}", record.offset_bytes, record.length_bytes));
    if (record.length_bytes == 0)
      return Parsed::bad(TraceFault::zero_length, fmt::format("at offset {}", record.offset_bytes));
    const bool is_discard = record.op == TraceOp::discard;
    if (record.length_bytes > (is_discard ? kMaxTraceLengthBytes : kMaxTraceTransferBytes))
      return Parsed::bad(TraceFault::too_long, fmt::format("{} bytes", record.length_bytes));
  }
  if (record.time_ns < last_time_ns_)
    return Parsed::bad(TraceFault::out_of_order,
                       fmt::format("{} ns before the record before it; sort the trace by time",
                                   last_time_ns_ - record.time_ns));
  if (record.time_ns != last_time_ns_) same_instant_.clear();
  if (parser_->has_times() && record.op != TraceOp::flush) {
    if (meets_another(record))
      return Parsed::bad(TraceFault::overlapping,
                         fmt::format("offset {}, length {} meets another request of the same "
                                     "instant, and which was first is not known",
                                     record.offset_bytes, record.length_bytes));
    if (same_instant_.size() == kMaxSameInstant) same_instant_.pop_front();
    same_instant_.push_back(record);
  }
  last_time_ns_ = record.time_ns;
  return Parsed::record();
}

bool TraceReader::meets_another(const TraceRecord& record) const {
  return std::any_of(same_instant_.begin(), same_instant_.end(),
                     [&](const TraceRecord& other) { return order_matters(record, other); });
}

Result<bool> TraceReader::at_end() {
  if (counts_.records > 0 || counts_.skipped_total() > 0) return false;
  const std::string why = parser_->none_found();
  if (why.empty()) return false;
  return Error{Errc::invalid, fmt::format("trace {}: {}", name_, why)};
}

std::optional<Error> TraceReader::refuse(TraceFault fault, const std::string& detail) {
  Error error{Errc::invalid, fmt::format("trace {}, {} {}: {}: {}", name_,
                                         parser_->record_bytes() == 0 ? "line" : "record", number_,
                                         to_string(fault), detail)};
  if (!lenient_) {
    error.message += "; mend it, or skip such records with --lenient";
    return error;
  }
  ++counts_.skipped[static_cast<size_t>(fault)];
  if (counts_.first_skipped.empty()) counts_.first_skipped = error.message;
  return std::nullopt;
}

}  // namespace latte::trace
