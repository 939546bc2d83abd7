// fio's iolog. Version 2: "FILE ACTION [OFFSET LENGTH]", with "wait USEC" between requests.
// Version 3: "USEC FILE ACTION [OFFSET LENGTH]".
#include <fmt/format.h>

#include "trace/record_parser.h"

namespace latte::trace {
namespace {

class FioParser final : public RecordParser {
 public:
  explicit FioParser(const ParserOptions& options) : filter_(options.device) {}
  // Version 2 has waits only, and none between requests under way together.
  bool has_times() const override { return version_ == 3; }

  Parsed parse(std::string_view line, TraceRecord& out) override {
    if (version_ == 0) return parse_header(line);
    Fields fields(line, ' ');
    uint64_t time_us = waited_us_;
    if (version_ == 3) {
      const std::string_view time = fields.next();
      const auto number = parse_number(time);
      if (!number) return Parsed::garbage(fmt::format("timestamp \"{}\" is no number", time));
      time_us = *number;
    }
    const std::string_view file = fields.next();
    const std::string_view action = fields.next();
    if (action.empty())
      return Parsed::garbage(fmt::format("\"{}\" has no action", line.substr(0, 100)));
    if (action == "add" || action == "open" || action == "close") return Parsed::nothing();
    const auto first = parse_number(fields.next());
    const auto second = parse_number(fields.next());
    if (action == "wait") {
      if (!first) return Parsed::garbage("wait without its microseconds");
      waited_us_ = *first > UINT64_MAX - waited_us_ ? UINT64_MAX : waited_us_ + *first;
      return Parsed::nothing();
    }
    if (!filter_.passes(file)) return filter_.refuse(file);
    const bool is_flush = action == "sync" || action == "datasync";
    if (action == "read")
      out.op = TraceOp::read;
    else if (action == "write")
      out.op = TraceOp::write;
    else if (action == "trim")
      out.op = TraceOp::discard;
    else if (is_flush)
      out.op = TraceOp::flush;
    else
      return Parsed::garbage(fmt::format("action \"{}\" is not known", action));
    if (!is_flush && (!first || !second))
      return Parsed::garbage(fmt::format("\"{}\" lacks its offset or length", line.substr(0, 100)));
    out.offset_bytes = is_flush ? 0 : *first;
    out.length_bytes = is_flush ? 0 : *second;
    if (!clock_.to_ns(time_us, out.time_ns))
      return Parsed::garbage(fmt::format("time {} us is centuries from the first", time_us));
    return Parsed::record();
  }

 private:
  Parsed parse_header(std::string_view line) {
    if (line == "fio version 2 iolog")
      version_ = 2;
    else if (line == "fio version 3 iolog")
      version_ = 3;
    else
      return Parsed::garbage(fmt::format(
          "\"{}\" is not the first line of an iolog of version 2 or 3", line.substr(0, 100)));
    return Parsed::nothing();
  }

  int version_ = 0;
  uint64_t waited_us_ = 0;
  DeviceFilter filter_;
  TraceClock clock_{kMicrosecond};
};

}  // namespace

std::unique_ptr<RecordParser> make_fio_parser(const ParserOptions& options) {
  return std::make_unique<FioParser>(options);
}

}  // namespace latte::trace
