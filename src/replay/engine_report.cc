#include "replay/engine_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/html_escape.h"
#include "base/units.h"
#include "policy/iops_advisor.h"
#include "replay/html_page.h"
#include "replay/svg_plot.h"

namespace latte::replay {
namespace {

/// Percentiles at which a CDF is drawn.
constexpr double kCdfPoints[] = {0.001, 0.01, 0.05, 0.1,  0.2,  0.3,  0.4,   0.5,   0.6,   0.7,
                                 0.8,   0.85, 0.9,  0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999};

double us(uint64_t ns) { return static_cast<double>(ns) / kMicrosecond; }

double mean_us(const Histogram& latency) {
  return latency.count() == 0 ? 0 : us(latency.sum_ns()) / static_cast<double>(latency.count());
}

const DiskStats& disk_of(const EngineRun& run) {
  LATTE_CHECK(run.stats.disks.size() == 1);
  return run.stats.disks.front();
}

double blocks_a_second(const EngineRun& run) {
  return run.seconds <= 0 ? 0 : static_cast<double>(run.blocks) / run.seconds;
}

double read_megabytes_a_second(const EngineRun& run) {
  return run.virtual_ns <= 0 ? 0
                             : static_cast<double>(disk_of(run).read_bytes) * 1e3 /
                                   static_cast<double>(run.virtual_ns);
}

std::string size_name(const EngineRun& run) {
  return fmt::format("{:.0f} MiB", mebibytes(run.pool_bytes));
}

std::string_view name_of(Tier tier) { return tier == Tier::local ? "drive" : "cloud"; }

std::string run_name(const EngineRun& run) {
  return fmt::format("{}, {}, {}", size_name(run), policy::name_of(run.admission),
                     name_of(run.dispatch));
}

void add_cdf(LinePlot& plot, const std::string& name, const Histogram& latency) {
  if (latency.count() == 0) return;
  PlotSeries series{name, {}, false};
  for (const double point : kCdfPoints)
    series.points.emplace_back(us(latency.quantile_ns(point)), point);
  plot.series.push_back(std::move(series));
}

std::string cdf_plot(const EngineResult& result) {
  LinePlot plot{"Latency, share of requests done within", "us", "share", {}, true};
  for (const EngineRun& run : result.runs) {
    add_cdf(plot, "reads, " + run_name(run), disk_of(run).read_latency);
    add_cdf(plot, "writes, " + run_name(run), disk_of(run).write_latency);
  }
  return to_svg(plot);
}

std::string time_plot(const EngineResult& result) {
  LinePlot plot{"Latency over time, p50 and p99 of all requests", "s", "us", {}, false};
  for (const EngineRun& run : result.runs) {
    PlotSeries middle{"p50, " + run_name(run), {}, true}, high{"p99, " + run_name(run), {}, false};
    for (const TimeSlice& slice : run.slices) {
      if (slice.latency.count() == 0) continue;
      const double second = static_cast<double>(slice.begin_ns) / kSecond;
      middle.points.emplace_back(second, us(slice.latency.quantile_ns(0.5)));
      high.points.emplace_back(second, us(slice.latency.quantile_ns(0.99)));
    }
    plot.series.push_back(std::move(middle));
    plot.series.push_back(std::move(high));
  }
  return to_svg(plot);
}

std::string percentile_plot(const EngineResult& result) {
  BarPlot plot{"Latency percentiles", "us", {"latency"}, {}};
  for (const EngineRun& run : result.runs)
    for (const bool reads : {true, false}) {
      const Histogram& latency = reads ? disk_of(run).read_latency : disk_of(run).write_latency;
      if (latency.count() == 0) continue;
      BarPlot::Group group{fmt::format("{}, {}", reads ? "reads" : "writes", run_name(run)), {}};
      for (const auto& [name, point] : {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}})
        group.bars.push_back({name, {us(latency.quantile_ns(point))}});
      plot.groups.push_back(std::move(group));
    }
  return to_svg(plot);
}

std::string write_plot(const EngineResult& result) {
  BarPlot plot{"Written to the pool, by cause",
               "MiB",
               {"clients", "admission", "reinsertion", "metadata"},
               {}};
  BarPlot::Group group{"pool", {}};
  for (const EngineRun& run : result.runs) {
    const PoolWrites& written = run.stats.pool.written;
    group.bars.push_back({run_name(run),
                          {mebibytes(written.user), mebibytes(written.admission),
                           mebibytes(written.reinsertion), mebibytes(written.metadata)}});
  }
  plot.groups.push_back(std::move(group));
  return to_svg(plot);
}

/// What to buy for a demand: by the advisor's rule, for operations as for bytes.
struct CloudNeeds {
  CloudLimits limits;
  MonthlyCost cost;
};

CloudNeeds needs_of(const std::vector<CloudSecond>& demand, uint64_t cloud_bytes,
                    const PriceTable& prices) {
  constexpr AdvisorLimits kAny{1, uint64_t{1} << 50, 1};
  IopsAdvisor operations(kAny), bytes(kAny);
  uint64_t sum = 0;
  for (const CloudSecond& second : demand) {
    operations.observe(second.operations, 0, kSecond);
    bytes.observe(second.bytes, 0, kSecond);
    sum += second.operations;
  }
  CloudNeeds needs;
  needs.limits.operations.per_second = operations.advise(0);
  needs.limits.bytes.per_second = bytes.advise(0);
  const double mean =
      demand.empty() ? 0 : static_cast<double>(sum) / static_cast<double>(demand.size());
  needs.cost = monthly_cost(prices, cloud_bytes, needs.limits, mean);
  return needs;
}

CloudNeeds needs_of(const EngineResult& result, const EngineRun& run) {
  return needs_of(run.cloud_demand, run.cloud_bytes, result.prices);
}

CloudNeeds direct_needs(const EngineResult& result) {
  return needs_of(result.direct_demand, result.size_bytes, result.prices);
}

std::string cost_row(const EngineResult& result, const std::string& name, const CloudNeeds& needs) {
  const std::string money =
      result.prices.any()
          ? fmt::format(", {:.2f} {} a month", needs.cost.total(), result.prices.currency)
          : "";
  return fmt::format("    {:<28} {:>8} IOPS, {:>8.1f} MiB/s{}\n", name,
                     needs.limits.operations.per_second, mebibytes(needs.limits.bytes.per_second),
                     money);
}

/// What each run would have to buy of the cloud, beside a disk that is all there.
std::string cost_table(const EngineResult& result) {
  std::string text = "  the cloud volume needs\n";
  text += cost_row(result, "without Latte", direct_needs(result));
  for (const EngineRun& run : result.runs)
    text += cost_row(result, run_name(run), needs_of(result, run));
  return text;
}

nlohmann::ordered_json needs_json(const EngineResult& result, const CloudNeeds& needs) {
  nlohmann::ordered_json json{{"iops", needs.limits.operations.per_second},
                              {"bandwidth", needs.limits.bytes.per_second}};
  if (result.prices.any())
    json["cost_month"] = {{"currency", result.prices.currency},
                          {"capacity", needs.cost.capacity},
                          {"iops", needs.cost.iops},
                          {"bandwidth", needs.cost.bandwidth},
                          {"operations", needs.cost.operations},
                          {"total", needs.cost.total()}};
  return json;
}

nlohmann::ordered_json latency_json(const Histogram& latency) {
  return {{"count", latency.count()},
          {"mean_us", mean_us(latency)},
          {"p50_us", us(latency.quantile_ns(0.5))},
          {"p99_us", us(latency.quantile_ns(0.99))},
          {"p999_us", us(latency.quantile_ns(0.999))}};
}

nlohmann::ordered_json alone_json(const AloneRun& run) {
  return {{"tier", name_of(run.tier)},
          {"requests", run.requests},
          {"late", run.late},
          {"failed", run.failed},
          {"virtual_seconds", static_cast<double>(run.virtual_ns) / kSecond},
          {"read", latency_json(run.read_latency)},
          {"write", latency_json(run.write_latency)}};
}

nlohmann::ordered_json run_json(const EngineResult& result, const EngineRun& run) {
  const DiskStats& disk = disk_of(run);
  const PoolWrites& written = run.stats.pool.written;
  return {{"pool_bytes", run.pool_bytes},
          {"admission", policy::name_of(run.admission)},
          {"dispatcher", name_of(run.dispatch)},
          {"requests", run.requests},
          {"late", run.late},
          {"failed", run.failed},
          {"virtual_seconds", static_cast<double>(run.virtual_ns) / kSecond},
          {"event_hash", fmt::format("{:016x}", run.hash)},
          {"read_hit_ratio", disk_of(run).read_hit_ratio()},
          {"read_bytes", disk.read_bytes},
          {"cloud_served_bytes", disk.cloud_served_blocks * kBlockBytes},
          {"read", latency_json(disk.read_latency)},
          {"write", latency_json(disk.write_latency)},
          {"pool_written_bytes",
           {{"user", written.user},
            {"admission", written.admission},
            {"reinsertion", written.reinsertion},
            {"metadata", written.metadata}}},
          {"cloud",
           {{"reads", disk.cloud.reads},
            {"writes", disk.cloud.writes},
            {"read_bytes", disk.cloud.read_bytes},
            {"write_bytes", disk.cloud.write_bytes}}},
          {"cloud_needs", needs_json(result, needs_of(result, run))},
          {"blocks_per_second", blocks_a_second(run)}};
}

}  // namespace

std::string to_table(const EngineResult& result) {
  constexpr std::string_view kRow =
      "  {:>10} {:>9} {:>10} {:>9} {:>9} {:>24} {:>24} {:>20} {:>10} {:>7} {:>9}\n";
  std::string text =
      fmt::format("{}, at {:g} times its pace, through the engine\n", result.trace, result.speed);
  text += fmt::format(kRow, "pool", "admission", "dispatcher", "read hits", "read MB/s",
                      "reads: mean/p99/p99.9 us", "writes: ...", "pool: user/copies/.. MiB",
                      "cloud ops", "late", "blocks/s");
  const auto three = [](const Histogram& latency) {
    return fmt::format("{:.0f}/{:.0f}/{:.0f}", mean_us(latency), us(latency.quantile_ns(0.99)),
                       us(latency.quantile_ns(0.999)));
  };
  for (const EngineRun& run : result.runs) {
    const DiskStats& disk = disk_of(run);
    const PoolWrites& written = run.stats.pool.written;
    const std::string pool = fmt::format("{:.0f}/{:.0f}/{:.0f}", mebibytes(written.user),
                                         mebibytes(written.admission + written.reinsertion),
                                         mebibytes(written.metadata));
    text +=
        fmt::format(kRow, size_name(run), policy::name_of(run.admission), name_of(run.dispatch),
                    fmt::format("{:.4f}", disk_of(run).read_hit_ratio()),
                    fmt::format("{:.1f}", read_megabytes_a_second(run)), three(disk.read_latency),
                    three(disk.write_latency), pool, disk.cloud.reads + disk.cloud.writes, run.late,
                    fmt::format("{:.0f}", blocks_a_second(run)));
    if (run.failed > 0) text += fmt::format("  {} requests failed\n", run.failed);
  }
  for (const AloneRun& run : result.alone)
    text += fmt::format(kRow, fmt::format("{} alone", name_of(run.tier)), "", "", "", "",
                        three(run.read_latency), three(run.write_latency), "", "", run.late, "");
  return text + cost_table(result);
}

std::string to_json(const std::vector<EngineResult>& results, uint64_t seed) {
  nlohmann::ordered_json all;
  all["seed"] = seed;
  all["traces"] = nlohmann::ordered_json::array();
  for (const EngineResult& result : results) {
    nlohmann::ordered_json item{{"trace", result.trace}, {"speed", result.speed}};
    item["cloud_needs_without_latte"] = needs_json(result, direct_needs(result));
    item["runs"] = nlohmann::ordered_json::array();
    for (const EngineRun& run : result.runs) item["runs"].push_back(run_json(result, run));
    if (!result.alone.empty()) item["alone"] = nlohmann::ordered_json::array();
    for (const AloneRun& run : result.alone) item["alone"].push_back(alone_json(run));
    all["traces"].push_back(std::move(item));
  }
  return dump_json(all);
}

std::string to_html(const std::vector<EngineResult>& results, uint64_t seed) {
  std::string body = "<p>The engine in virtual time, on models of a drive and a cloud disk.</p>\n";
  for (const EngineResult& result : results) {
    body += fmt::format("<h2>{}</h2>\n<div class=\"p\">\n", escape_html(result.trace));
    body += percentile_plot(result) + cdf_plot(result) + time_plot(result) + write_plot(result);
    body += fmt::format("</div>\n<pre>{}</pre>\n", escape_html(to_table(result)));
  }
  return html_page("latte replay: the engine", seed, body);
}

}  // namespace latte::replay
