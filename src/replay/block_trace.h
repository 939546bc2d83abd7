// BlockTrace: a trace's reads and writes as accesses to blocks of kBlockBytes, numbered in order of
// their first access: what cache policies are run on.
//
// Limits: kMaxBlocks different blocks and kMaxAccesses accesses; 8 bytes of memory an access, about
// 50 a block while loading.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/cache_policy.h"
#include "trace/trace_reader.h"

namespace latte::replay {

/// 8 GiB of memory; a trace beyond it is cut into parts by whoever has it.
inline constexpr uint64_t kMaxAccesses = uint64_t{1} << 30;
/// A footprint of 512 GiB; 6 GiB of memory.
inline constexpr uint64_t kMaxBlocks = uint64_t{1} << 27;

struct BlockTrace {
  std::string name;  ///< the file's, without its folder and endings
  std::vector<policy::CacheAccess> accesses;
  uint64_t block_count = 0;  ///< different blocks: the footprint
  uint64_t requests = 0;
  uint64_t reads = 0;  ///< blocks
  trace::TraceCounts counts;
};

/// What a trace is called in reports: "/a/b/arc_P2.csv.zst" is "arc_P2".
std::string trace_name(const std::string& path);

/// Called now and then with the share that is done, 0 to 1.
using OnProgress = std::function<void(double share)>;
/// Reports how much of the trace has been read, once in so many records.
void report_reading(const trace::TraceReader& reader, const OnProgress& on_progress);

/// Reads the trace at `path`. Errors: those of TraceReader; invalid if it has no reads and writes,
/// or more than the limits.
Result<BlockTrace> load_block_trace(const std::string& path, const trace::TraceOptions& options,
                                    const OnProgress& on_progress);

}  // namespace latte::replay
