// Reports of engine replays: a table for the terminal, JSON, and HTML sections with plots.
//
// Thread rule: pure functions.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "device/cloud_price.h"
#include "replay/engine_replay.h"

namespace latte::replay {

/// One trace's runs, one for each pool size.
struct EngineResult {
  std::string trace;
  double speed = 1;
  std::vector<EngineRun> runs;
  uint64_t size_bytes = 0;                   ///< of the trace's disk
  std::vector<CloudSecond> direct_demand{};  ///< without Latte
  PriceTable prices{};                       ///< without any(): no money is spoken of
  std::vector<AloneRun> alone{};             ///< one tier without Latte, if asked for
};

std::string to_table(const EngineResult& result);
/// One line, without newline; docs/reference/replay.md describes its fields.
std::string to_json(const std::vector<EngineResult>& results, uint64_t seed);
/// A whole page.
std::string to_html(const std::vector<EngineResult>& results, uint64_t seed);

}  // namespace latte::replay
