// Cache-only replay: a trace through several policies at several cache sizes, without time or
// devices, on all cores.
//
// Deterministic: a job has its own policy and generator, so results depend on trace, options and
// seed only, not on the number of threads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policy/cache_policy.h"
#include "replay/block_trace.h"

namespace latte::replay {

/// A cache's size: a share of the trace's footprint, or bytes.
struct CacheSize {
  double share = 0;  ///< 0: `bytes` counts
  uint64_t bytes = 0;
  /// In blocks, at least 1.
  uint64_t blocks(const BlockTrace& trace) const;
};
/// "25%", "512MiB". Errors: invalid.
Result<CacheSize> parse_cache_size(std::string_view text);

struct CacheRun {
  std::string policy;
  uint64_t capacity_blocks = 0;
  policy::CacheCounts counts;
  uint64_t memory_bytes = 0;  ///< of the policy
  double seconds = 0;  ///< that the run took; the only field that differs between repetitions
};

struct CacheReplayOptions {
  std::vector<std::string> policies;  ///< names of policy::kCachePolicyNames
  std::vector<CacheSize> sizes;
  uint64_t seed = 1;
  unsigned jobs = 0;  ///< threads; 0: one a core
};

/// One run for every policy and size: sizes in order, within each the policies.
std::vector<CacheRun> replay_cache(const BlockTrace& trace, const CacheReplayOptions& options,
                                   const OnProgress& on_progress);

}  // namespace latte::replay
