// Reports of cache-only replays: a table for the terminal, JSON, and an HTML page with plots.
//
// Thread rule: pure functions.
#pragma once

#include <string>
#include <vector>

#include "replay/block_trace.h"
#include "replay/cache_replay.h"

namespace latte::replay {

/// What is told of one trace: its facts and its runs, without the accesses.
struct CacheResult {
  std::string trace;
  uint64_t requests = 0;
  uint64_t accesses = 0;  ///< blocks read and written
  uint64_t reads = 0;     ///< blocks read
  uint64_t block_count = 0;
  std::string skipped;  ///< what was skipped of it, for people; empty if nothing was
  std::vector<CacheRun> runs;
};

/// The facts of `trace` with its runs.
CacheResult summarize(const BlockTrace& trace, std::vector<CacheRun> runs);

std::string to_table(const CacheResult& result);
/// docs/reference/replay.md describes its fields. One line, without newline.
std::string to_json(const std::vector<CacheResult>& results, uint64_t seed);
/// A whole page.
std::string to_html(const std::vector<CacheResult>& results, uint64_t seed);

}  // namespace latte::replay
