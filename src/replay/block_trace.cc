#include "replay/block_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace latte::replay {
namespace {

constexpr uint64_t kRecordsPerReport = 1u << 12;

/// Gives blocks their numbers and cuts requests into them.
class Loader {
 public:
  explicit Loader(BlockTrace& trace) : trace_(trace) {}

  /// False beyond the limits.
  bool add(const trace::TraceRecord& record) {
    const bool is_write = record.op == trace::TraceOp::write;
    if (!is_write && record.op != trace::TraceOp::read) return true;
    const uint64_t first = record.offset_bytes / kBlockBytes;
    const uint64_t end = (record.offset_bytes + record.length_bytes - 1) / kBlockBytes + 1;
    ++trace_.requests;
    if (end - first > kMaxAccesses - trace_.accesses.size()) return false;
    const auto request_blocks = static_cast<uint16_t>(
        std::min<uint64_t>((record.length_bytes + kBlockBytes - 1) / kBlockBytes, UINT16_MAX));
    for (uint64_t lba = first; lba < end; ++lba) {
      const auto id = static_cast<policy::BlockId>(ids_.size());
      const auto [place, fresh] = ids_.try_emplace(lba, id);
      if (fresh && ids_.size() > kMaxBlocks) return false;
      trace_.accesses.push_back({place->second, is_write, lba == next_lba_, request_blocks});
      next_lba_ = lba + 1;
    }
    trace_.reads += is_write ? 0 : end - first;
    trace_.block_count = ids_.size();
    return true;
  }

 private:
  BlockTrace& trace_;
  std::unordered_map<uint64_t, policy::BlockId> ids_;
  uint64_t next_lba_ = UINT64_MAX;
};

}  // namespace

std::string trace_name(const std::string& path) {
  std::string name = path.substr(path.rfind('/') + 1);
  for (const char* ending : {".zst", ".gz", ".csv", ".txt", ".vscsi", ".log"})
    if (name.size() > std::string_view(ending).size() && name.ends_with(ending))
      name.resize(name.size() - std::string_view(ending).size());
  return name;
}

void report_reading(const trace::TraceReader& reader, const OnProgress& on_progress) {
  if (reader.counts().records % kRecordsPerReport != 0 || reader.total_bytes() == 0) return;
  on_progress(static_cast<double>(reader.consumed_bytes()) /
              static_cast<double>(reader.total_bytes()));
}

Result<BlockTrace> load_block_trace(const std::string& path, const trace::TraceOptions& options,
                                    const OnProgress& on_progress) {
  auto opened = trace::TraceReader::open(path, options);
  if (!opened) return opened.error();
  trace::TraceReader& reader = *opened.value();
  BlockTrace result;
  result.name = trace_name(path);
  Loader loader(result);
  trace::TraceRecord record;
  for (;;) {
    const auto more = reader.next(record);
    if (!more) return more.error();
    if (!more.value()) break;
    if (!loader.add(record))
      return Error{
          Errc::invalid,
          fmt::format("trace {}: more than {} accesses or {} different blocks of {} bytes; "
                      "replay it in parts",
                      path, kMaxAccesses, kMaxBlocks, kBlockBytes)};
    report_reading(reader, on_progress);
  }
  result.counts = reader.counts();
  if (result.accesses.empty())
    return Error{Errc::invalid,
                 fmt::format("trace {}: it has no reads or writes{}{}", path,
                             result.counts.first_skipped.empty() ? "" : "; skipped: ",
                             result.counts.first_skipped)};
  return result;
}

}  // namespace latte::replay
