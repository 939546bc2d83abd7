// Fuzzes the trace readers: the first byte chooses the form and whether bad records are skipped,
// the rest is the file. What must hold: what comes out keeps TraceReader's invariants, errors name
// the trace, and skipping records changes nothing of the others' checks.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "trace/trace_reader.h"

namespace latte::trace {
namespace {

constexpr uint8_t kLenientBit = 0x80;
constexpr uint8_t kEventBit = 0x40;
constexpr unsigned kFormats = 7;  // and 0: told by the bytes

/// A small packed file may unpack to gigabytes; its beginning shows all there is to see.
constexpr uint64_t kMaxRecords = 200'000;

void drain(TraceReader& reader) {
  TraceRecord record;
  TimeNs last_ns = INT64_MIN;
  for (uint64_t i = 0; i < kMaxRecords; ++i) {
    const auto more = reader.next(record);
    if (!more) {
      LATTE_CHECK(more.error().message.find("fuzz") != std::string::npos);
      return;
    }
    if (!more.value()) return;
    LATTE_CHECK(record.time_ns >= last_ns);
    last_ns = record.time_ns;
    if (record.op == TraceOp::flush) continue;
    LATTE_CHECK(record.length_bytes > 0 && record.length_bytes <= kMaxTraceLengthBytes);
    LATTE_CHECK(record.offset_bytes <= kMaxTraceBytes - record.length_bytes);
    LATTE_CHECK(reader.counts().records == i + 1);
  }
}

}  // namespace
}  // namespace latte::trace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace latte::trace;
  if (size == 0) return 0;
  TraceOptions options;
  options.lenient = (data[0] & kLenientBit) != 0;
  options.parser.blkparse_event = (data[0] & kEventBit) != 0 ? 'D' : 'Q';
  const unsigned format = (data[0] & 0x3f) % kFormats;
  if (format > 0) options.format = static_cast<TraceFormat>(format - 1);
  const std::span bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto reader = TraceReader::of_memory(bytes, "fuzz", options);
  if (reader) drain(*reader.value());
  return 0;
}
