#include "replay/request_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/units.h"
#include "device/cloud_limits.h"

namespace latte::replay {
namespace {

constexpr uint64_t kMaxDiskBytes = 64ull << 40;
constexpr uint64_t kMaxRequestBytes = 32ull << 20;

}  // namespace

Result<RequestTrace> load_request_trace(const std::string& path, const trace::TraceOptions& options,
                                        const OnProgress& on_progress) {
  auto opened = trace::TraceReader::open(path, options);
  if (!opened) return opened.error();
  trace::TraceReader& reader = *opened.value();
  RequestTrace result;
  result.name = trace_name(path);
  std::unordered_set<uint64_t> blocks;
  trace::TraceRecord record;
  for (;;) {
    const auto more = reader.next(record);
    if (!more) return more.error();
    if (!more.value()) break;
    const uint64_t begin = round_down(record.offset_bytes, kSectorBytes);
    const uint64_t end = record.offset_bytes + record.length_bytes;
    const bool moves_data = record.op == trace::TraceOp::read || record.op == trace::TraceOp::write;
    if (end > kMaxDiskBytes ||
        (moves_data && record.length_bytes > kMaxRequestBytes - kSectorBytes))
      return Error{
          Errc::invalid,
          fmt::format("trace {}: request {} (offset {}, length {}) does not fit a disk of {} "
                      "TiB, or is longer than {} MiB; replay it without --engine",
                      path, reader.counts().records, record.offset_bytes, record.length_bytes,
                      kMaxDiskBytes >> 40, kMaxRequestBytes >> 20)};
    if (record.op != trace::TraceOp::flush) {
      record.offset_bytes = begin;
      record.length_bytes = round_up(end, kSectorBytes) - begin;
      result.size_bytes = std::max(result.size_bytes, round_up(end, kBlockBytes));
    }
    if (moves_data)
      for (uint64_t block = begin / kBlockBytes; block * kBlockBytes < end; ++block)
        blocks.insert(block);
    if (blocks.size() > kMaxBlocks)
      return Error{Errc::invalid,
                   fmt::format("trace {}: more than {} different blocks; replay it in "
                               "parts",
                               path, kMaxBlocks)};
    result.records.push_back(record);
    report_reading(reader, on_progress);
  }
  if (result.size_bytes == 0)
    return Error{Errc::invalid, fmt::format("trace {}: there is nothing to replay in it", path)};
  result.footprint_bytes = blocks.size() * kBlockBytes;
  return result;
}

std::vector<CloudSecond> direct_demand(const RequestTrace& trace, double speed) {
  std::vector<CloudSecond> seconds;
  const CloudLimits count;
  for (const trace::TraceRecord& record : trace.records) {
    const double at = static_cast<double>(record.time_ns) / speed / kSecond;
    const auto second = static_cast<size_t>(at);
    if (seconds.size() <= second) seconds.resize(second + 1);
    if (record.op == trace::TraceOp::flush) continue;
    const bool discard = record.op == trace::TraceOp::discard;
    seconds[second].operations += discard ? 1 : count.operations_of(record.length_bytes);
    seconds[second].bytes += discard ? 0 : record.length_bytes;
  }
  return seconds;
}

}  // namespace latte::replay
