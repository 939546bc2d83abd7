// RecordParser: one line or binary record of a trace into a TraceRecord. What a record means by
// itself is checked here; what it means among the others (order, overlap) and its range, by
// TraceReader.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "trace/trace_format.h"
#include "trace/trace_record.h"

namespace latte::trace {

/// What to read of a trace that holds more than one device's or event's records.
struct ParserOptions {
  std::string device;         ///< empty: the first one seen
  char blkparse_event = 'Q';  ///< Q queued, D issued, C completed
};

/// What became of a line or record.
struct Parsed {
  enum class Kind : uint8_t {
    record,   ///< the TraceRecord is filled in
    nothing,  ///< rightly no request (a header, an "open")
    fault,    ///< `fault` says what is wrong, `detail` the value
  };
  Kind kind = Kind::nothing;
  TraceFault fault = TraceFault::garbage;
  std::string detail{};

  static Parsed record() { return {Kind::record, {}, {}}; }
  static Parsed nothing() { return {}; }
  static Parsed bad(TraceFault fault, std::string detail) {
    return {Kind::fault, fault, std::move(detail)};
  }
  static Parsed garbage(std::string detail) { return bad(TraceFault::garbage, std::move(detail)); }
};

class RecordParser {
 public:
  virtual ~RecordParser() = default;
  /// Bytes of a record; 0 for lines.
  virtual size_t record_bytes() const { return 0; }
  /// Does the format say when requests were made? If not, equal times say nothing.
  virtual bool has_times() const { return true; }
  /// Offsets and lengths too large for their type come out as UINT64_MAX.
  virtual Parsed parse(std::string_view piece, TraceRecord& out) = 0;
  /// What an operator should know about a trace in which no record was found; empty if nothing.
  virtual std::string none_found() const { return {}; }
};

std::unique_ptr<RecordParser> make_csv_parser();
std::unique_ptr<RecordParser> make_msr_parser(const ParserOptions& options);
std::unique_ptr<RecordParser> make_fio_parser(const ParserOptions& options);
std::unique_ptr<RecordParser> make_blkparse_parser(const ParserOptions& options);
/// `version`: 1 or 2.
std::unique_ptr<RecordParser> make_vscsi_parser(int version);

/// Takes a line apart at `separator`; runs of blanks count as one.
class Fields {
 public:
  Fields(std::string_view line, char separator) : rest_(line), separator_(separator) {}
  /// The next field; empty when there is none left.
  std::string_view next();
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  char separator_;
};

/// A decimal number; UINT64_MAX if it is larger than that; nothing if it is no number.
std::optional<uint64_t> parse_number(std::string_view text);
/// `value` * `unit`, UINT64_MAX if it is larger than that.
uint64_t scaled(uint64_t value, uint64_t unit);

/// Turns a format's ticks into time since the first record.
class TraceClock {
 public:
  explicit TraceClock(uint64_t tick_ns) : tick_ns_(tick_ns) {}
  /// False if it lies further away than TimeNs reaches (292 years).
  bool to_ns(uint64_t ticks, TimeNs& out);

 private:
  uint64_t tick_ns_;
  std::optional<uint64_t> first_;
};

/// Lets one device's records through.
class DeviceFilter {
 public:
  explicit DeviceFilter(std::string wanted) : wanted_(std::move(wanted)) {}
  bool passes(std::string_view device) {
    if (wanted_.empty()) wanted_ = device;
    return wanted_ == device;
  }
  /// The fault of a record that does not pass.
  Parsed refuse(std::string_view device) const;

 private:
  std::string wanted_;
};

}  // namespace latte::trace
