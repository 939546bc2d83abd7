// The paper's tables on device models, the paper's figures beside ours: IOPS and bandwidth of three
// generations, latency over queue depth, reading from both tiers at once, cost.
#pragma once

#include <cstdint>
#include <cstdio>

namespace latte::study {

struct PaperPlan {
  uint64_t seed = 1;
  uint64_t requests = 200'000;  ///< of each point
};

/// As tables, or as JSON on one line (docs/reference/replay.md).
void report_paper(const PaperPlan& plan, bool json, std::FILE* out);

}  // namespace latte::study
