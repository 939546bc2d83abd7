#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "trace/record_parser.h"
#include "trace/vscsi_format.h"

namespace latte::trace {
namespace {

/// SCSI operation codes (SBC-3).
std::optional<TraceOp> op_of(uint16_t command) {
  switch (command) {
    case 0x08:  // READ(6), (10), (12), (16)
    case 0x28:
    case 0xa8:
    case 0x88:
      return TraceOp::read;
    case 0x0a:  // WRITE(6), (10), (12), (16)
    case 0x2a:
    case 0xaa:
    case 0x8a:
      return TraceOp::write;
    default:
      return std::nullopt;
  }
}

template <typename Record>
class VscsiParser final : public RecordParser {
 public:
  explicit VscsiParser(uint16_t version) : version_(version) {}
  size_t record_bytes() const override { return sizeof(Record); }

  Parsed parse(std::string_view piece, TraceRecord& out) override {
    LATTE_CHECK(piece.size() == sizeof(Record));
    Record record;
    std::copy_n(piece.data(), sizeof(Record), reinterpret_cast<char*>(&record));
    if (record.version >> 8 != version_)
      return Parsed::garbage(
          fmt::format("version field {:#x} is not of vscsi version {}", record.version, version_));
    const auto op = op_of(record.command);
    if (!op) return Parsed::nothing();  // inquiries and the like
    out.op = *op;
    out.offset_bytes = scaled(record.lba, kSectorBytes);
    out.length_bytes = record.length_bytes;
    if (!clock_.to_ns(record.time_us, out.time_ns))
      return Parsed::garbage(
          fmt::format("timestamp {} is centuries from the first", record.time_us));
    return Parsed::record();
  }
  std::string none_found() const override { return "it has no reads and writes"; }

 private:
  uint16_t version_;
  TraceClock clock_{kMicrosecond};
};

}  // namespace

std::unique_ptr<RecordParser> make_vscsi_parser(int version) {
  LATTE_CHECK(version == 1 || version == 2);
  if (version == 1) return std::make_unique<VscsiParser<VscsiRecord1>>(uint16_t{1});
  return std::make_unique<VscsiParser<VscsiRecord2>>(uint16_t{2});
}

}  // namespace latte::trace
