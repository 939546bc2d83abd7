// The two comma-separated forms: the project's own, and that of the MSR Cambridge traces.
#include <fmt/format.h>

#include "trace/record_parser.h"

namespace latte::trace {
namespace {

constexpr uint64_t kFileTimeTick = 100;

/// Fills offset and length from text.
Parsed fill_range(std::string_view offset, std::string_view length, TraceRecord& out) {
  const auto offset_bytes = parse_number(offset);
  if (!offset_bytes) return Parsed::garbage(fmt::format("offset \"{}\" is no number", offset));
  const auto length_bytes = parse_number(length);
  if (!length_bytes) return Parsed::garbage(fmt::format("length \"{}\" is no number", length));
  out.offset_bytes = *offset_bytes;
  out.length_bytes = *length_bytes;
  return Parsed::record();
}

Parsed fill_time(std::string_view text, TraceClock& clock, TraceRecord& out) {
  const auto ticks = parse_number(text);
  if (!ticks) return Parsed::garbage(fmt::format("timestamp \"{}\" is no number", text));
  if (!clock.to_ns(*ticks, out.time_ns))
    return Parsed::garbage(fmt::format("timestamp {} is centuries from the first", text));
  return Parsed::record();
}

Parsed wrong_fields(std::string_view line, int wanted) {
  return Parsed::garbage(
      fmt::format("\"{}\" does not have {} fields", line.substr(0, 100), wanted));
}

class CsvParser final : public RecordParser {
 public:
  Parsed parse(std::string_view line, TraceRecord& out) override {
    Fields fields(line, ',');
    const std::string_view time = fields.next();
    const std::string_view op = fields.next();
    const std::string_view offset = fields.next();
    const std::string_view length = fields.next();
    if (length.empty() || !fields.done()) return wrong_fields(line, 4);
    if (first_ && time == "timestamp_us") {
      first_ = false;
      return Parsed::nothing();
    }
    first_ = false;
    if (op == "R")
      out.op = TraceOp::read;
    else if (op == "W")
      out.op = TraceOp::write;
    else if (op == "D")
      out.op = TraceOp::discard;
    else if (op == "F")
      out.op = TraceOp::flush;
    else
      return Parsed::garbage(fmt::format("operation \"{}\" is none of R, W, D, F", op));
    Parsed parsed = fill_range(offset, length, out);
    if (parsed.kind == Parsed::Kind::record) parsed = fill_time(time, clock_, out);
    return parsed;
  }

 private:
  TraceClock clock_{kMicrosecond};
  bool first_ = true;
};

class MsrParser final : public RecordParser {
 public:
  explicit MsrParser(const ParserOptions& options) : filter_(options.device) {}
  Parsed parse(std::string_view line, TraceRecord& out) override {
    Fields fields(line, ',');
    const std::string_view time = fields.next();
    const std::string_view host = fields.next();
    const std::string_view disk = fields.next();
    const std::string_view type = fields.next();
    const std::string_view offset = fields.next();
    const std::string_view length = fields.next();
    const std::string_view response = fields.next();
    if (response.empty() || !fields.done()) return wrong_fields(line, 7);
    if (time == "Timestamp") return Parsed::nothing();
    if (type == "Read" || type == "read")
      out.op = TraceOp::read;
    else if (type == "Write" || type == "write")
      out.op = TraceOp::write;
    else
      return Parsed::garbage(fmt::format("type \"{}\" is neither Read nor Write", type));
    device_.assign(host).append(1, '.').append(disk);
    if (!filter_.passes(device_)) return filter_.refuse(device_);
    Parsed parsed = fill_range(offset, length, out);
    if (parsed.kind == Parsed::Kind::record) parsed = fill_time(time, clock_, out);
    return parsed;
  }

 private:
  TraceClock clock_{kFileTimeTick};
  DeviceFilter filter_;
  std::string device_;
};

}  // namespace

std::unique_ptr<RecordParser> make_csv_parser() { return std::make_unique<CsvParser>(); }
std::unique_ptr<RecordParser> make_msr_parser(const ParserOptions& options) {
  return std::make_unique<MsrParser>(options);
}

}  // namespace latte::trace
