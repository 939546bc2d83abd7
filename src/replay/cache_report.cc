#include "replay/cache_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/html_escape.h"
#include "base/units.h"
#include "replay/html_page.h"
#include "replay/svg_plot.h"

namespace latte::replay {
namespace {

double mib_of(uint64_t blocks) { return mebibytes(blocks * kBlockBytes); }

double percent_of(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

/// Blocks written because of reads, over those of LRU at the same size; negative if LRU did not
/// run.
double beside_lru(const CacheResult& result, const CacheRun& run) {
  for (const CacheRun& other : result.runs)
    if (other.policy == "lru" && other.capacity_blocks == run.capacity_blocks)
      return other.counts.admitted == 0 ? -1
                                        : static_cast<double>(run.counts.admitted) /
                                              static_cast<double>(other.counts.admitted);
  return -1;
}

double accesses_a_second(const CacheResult& result, const CacheRun& run) {
  return run.seconds <= 0 ? 0 : static_cast<double>(result.accesses) / run.seconds;
}

std::string facts(const CacheResult& result) {
  return fmt::format("{} requests, {} blocks of 4 KiB ({:.0f} % reads), footprint {:.0f} MiB",
                     result.requests, result.accesses, percent_of(result.reads, result.accesses),
                     mib_of(result.block_count));
}

/// Policies in the order in which they ran first.
std::vector<std::string> policies_of(const CacheResult& result) {
  std::vector<std::string> names;
  for (const CacheRun& run : result.runs)
    if (std::find(names.begin(), names.end(), run.policy) == names.end())
      names.push_back(run.policy);
  return names;
}

std::string hit_plot(const CacheResult& result) {
  LinePlot plot{
      "Read hit ratio over cache size", "cache size, % of the footprint", "read hit ratio", {}};
  for (const std::string& policy : policies_of(result)) {
    PlotSeries series{policy, {}, policy == "belady"};
    for (const CacheRun& run : result.runs)
      if (run.policy == policy)
        series.points.emplace_back(percent_of(run.capacity_blocks, result.block_count),
                                   run.counts.hit_ratio());
    std::sort(series.points.begin(), series.points.end());
    plot.series.push_back(std::move(series));
  }
  return to_svg(plot);
}

std::string write_plot(const CacheResult& result) {
  BarPlot plot{"Blocks written to the cache because of reads", "MiB", {"admission"}, {}};
  std::set<uint64_t> sizes;
  for (const CacheRun& run : result.runs) sizes.insert(run.capacity_blocks);
  for (const uint64_t size : sizes) {
    BarPlot::Group group{
        fmt::format("{:.0f} % of the footprint", percent_of(size, result.block_count)), {}};
    for (const CacheRun& run : result.runs)
      if (run.capacity_blocks == size && run.policy != "belady")
        group.bars.push_back({run.policy, {mib_of(run.counts.admitted)}});
    plot.groups.push_back(std::move(group));
  }
  return to_svg(plot);
}

std::string html_table(const CacheResult& result) {
  std::string rows;
  for (const CacheRun& run : result.runs) {
    const double lru = beside_lru(result, run);
    rows += fmt::format(
        "<tr><td>{:.1f}</td><td>{:.0f}</td><td class=\"l\">{}</td><td>{:.4f}</td><td>{}</td>"
        "<td>{}</td></tr>\n",
        percent_of(run.capacity_blocks, result.block_count), mib_of(run.capacity_blocks),
        escape_html(run.policy), run.counts.hit_ratio(), run.counts.admitted,
        lru < 0 ? "-" : fmt::format("{:.2f}", lru));
  }
  return "<table><tr><th>cache, %</th><th>MiB</th><th class=\"l\">policy</th><th>read hit "
         "ratio</th>"
         "<th>blocks admitted</th><th>of LRU's</th></tr>\n" +
         rows + "</table>\n";
}

}  // namespace

CacheResult summarize(const BlockTrace& trace, std::vector<CacheRun> runs) {
  return {trace.name,     trace.requests,    trace.accesses.size(),
          trace.reads,    trace.block_count, trace.counts.describe_skipped(),
          std::move(runs)};
}

std::string to_table(const CacheResult& result) {
  std::string text = fmt::format("{}: {}\n", result.trace, facts(result));
  if (!result.skipped.empty()) text += fmt::format("  skipped: {}\n", result.skipped);
  text += fmt::format("  {:>8} {:>9}  {:<12} {:>9} {:>12} {:>9} {:>7}\n", "cache", "MiB", "policy",
                      "read hits", "admitted", "of LRU's", "M/s");
  for (const CacheRun& run : result.runs) {
    const double lru = beside_lru(result, run);
    text += fmt::format("  {:>6.1f} % {:>9.1f}  {:<12} {:>9.4f} {:>12} {:>9} {:>7.1f}\n",
                        percent_of(run.capacity_blocks, result.block_count),
                        mib_of(run.capacity_blocks), run.policy, run.counts.hit_ratio(),
                        run.counts.admitted, lru < 0 ? "-" : fmt::format("{:.3f}", lru),
                        accesses_a_second(result, run) / 1e6);
  }
  return text;
}

std::string to_json(const std::vector<CacheResult>& results, uint64_t seed) {
  nlohmann::ordered_json all;
  all["seed"] = seed;
  all["block_bytes"] = kBlockBytes;
  all["traces"] = nlohmann::ordered_json::array();
  for (const CacheResult& result : results) {
    nlohmann::ordered_json item{{"trace", result.trace},
                                {"requests", result.requests},
                                {"blocks", result.accesses},
                                {"read_blocks", result.reads},
                                {"footprint_blocks", result.block_count},
                                {"skipped", result.skipped}};
    item["runs"] = nlohmann::ordered_json::array();
    for (const CacheRun& run : result.runs)
      item["runs"].push_back({{"policy", run.policy},
                              {"capacity_blocks", run.capacity_blocks},
                              {"read_hit_ratio", run.counts.hit_ratio()},
                              {"read_hit_blocks", run.counts.read_hits},
                              {"admitted_blocks", run.counts.admitted},
                              {"memory_bytes", run.memory_bytes},
                              {"blocks_per_second", accesses_a_second(result, run)}});
    all["traces"].push_back(std::move(item));
  }
  return dump_json(all);
}

std::string to_html(const std::vector<CacheResult>& results, uint64_t seed) {
  std::string body =
      "<p>Blocks of 4 KiB; writes go into the cache; it begins empty. Belady knows the future: a "
      "bound.</p>\n";
  for (const CacheResult& result : results) {
    body +=
        fmt::format("<h2>{}</h2>\n<p>{}{}{}</p>\n<div class=\"p\">\n", escape_html(result.trace),
                    facts(result), result.skipped.empty() ? "" : "; skipped: ", result.skipped);
    body += hit_plot(result) + write_plot(result) + "</div>\n" + html_table(result);
  }
  return html_page("latte replay: cache policies", seed, body);
}

}  // namespace latte::replay
