// blkparse's default text:
//   MAJOR,MINOR CPU SEQUENCE SECONDS.NANOSECONDS PID EVENT RWBS SECTOR + SECTORS [PROCESS]
// Its summary, from a line that begins with "CPU" or "Total" on, is passed over.
#include <fmt/format.h>

#include "trace/record_parser.h"

namespace latte::trace {
namespace {

class BlkparseParser final : public RecordParser {
 public:
  explicit BlkparseParser(const ParserOptions& options)
      : wanted_event_(options.blkparse_event), filter_(options.device) {}

  Parsed parse(std::string_view line, TraceRecord& out) override {
    in_summary_ |= line.starts_with("CPU") || line.starts_with("Total");
    if (in_summary_) return Parsed::nothing();
    Fields fields(line, ' ');
    const std::string_view device = fields.next();
    fields.next();  // processor
    fields.next();  // sequence number
    const std::string_view time = fields.next();
    fields.next();  // process
    const std::string_view event = fields.next();
    const std::string_view rwbs = fields.next();
    if (event.empty() || device.find(',') == std::string_view::npos)
      return Parsed::garbage(
          fmt::format("\"{}\" is no line of blkparse's default format", line.substr(0, 100)));
    if (event.size() == 1 && events_.find(event[0]) == std::string::npos) events_ += event[0];
    if (event != std::string_view(&wanted_event_, 1)) return Parsed::nothing();
    if (!filter_.passes(device)) return filter_.refuse(device);
    const auto time_ns = parse_time(time);
    if (!time_ns || !clock_.to_ns(*time_ns, out.time_ns))
      return Parsed::garbage(fmt::format("time \"{}\" is not SECONDS.NANOSECONDS", time));
    return fill(fields, rwbs, out);
  }
  std::string none_found() const override {
    if (events_.empty()) return {};
    return fmt::format("it has no event {}, but {}; choose with --event", wanted_event_, events_);
  }

 private:
  static Parsed fill(Fields& fields, std::string_view rwbs, TraceRecord& out) {
    const std::string_view sector = fields.next();
    const std::string_view plus = fields.next();
    const std::string_view count = fields.next();
    const bool has_range = plus == "+";
    if (rwbs.find('D') != std::string_view::npos)
      out.op = TraceOp::discard;
    else if (rwbs.find('W') != std::string_view::npos && has_range)
      out.op = TraceOp::write;
    else if (rwbs.find('R') != std::string_view::npos)
      out.op = TraceOp::read;
    else if (rwbs.find('F') != std::string_view::npos)
      out.op = TraceOp::flush;
    else
      return Parsed::nothing();  // "N": a command of its own kind
    out.offset_bytes = out.length_bytes = 0;
    if (out.op == TraceOp::flush) return Parsed::record();
    const auto first = parse_number(sector);
    const auto sectors = parse_number(count);
    if (!has_range || !first || !sectors)
      return Parsed::garbage(
          fmt::format("\"{} {} {}\" is not SECTOR + SECTORS", sector, plus, count));
    out.offset_bytes = scaled(*first, kSectorBytes);
    out.length_bytes = scaled(*sectors, kSectorBytes);
    // A write of no sectors with F in front of it is how a flush is queued.
    if (out.length_bytes == 0 && rwbs.find('F') != std::string_view::npos) {
      out.op = TraceOp::flush;
      out.offset_bytes = 0;
    }
    return Parsed::record();
  }

  /// "12.000000345" in ns.
  static std::optional<uint64_t> parse_time(std::string_view text) {
    const size_t point = text.find('.');
    if (point == std::string_view::npos || text.size() - point - 1 != 9) return std::nullopt;
    const auto seconds = parse_number(text.substr(0, point));
    const auto ns = parse_number(text.substr(point + 1));
    if (!seconds || !ns || *seconds > UINT64_MAX / kSecond - 1) return std::nullopt;
    return *seconds * kSecond + *ns;
  }

  char wanted_event_;
  DeviceFilter filter_;
  TraceClock clock_{1};
  std::string events_;  // seen so far
  bool in_summary_ = false;
};

}  // namespace

std::unique_ptr<RecordParser> make_blkparse_parser(const ParserOptions& options) {
  return std::make_unique<BlkparseParser>(options);
}

}  // namespace latte::trace
