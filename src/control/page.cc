#include "control/page.h"

#include <fmt/format.h>

#include "base/html_escape.h"
#include "control/config_values.h"

namespace latte {
namespace {

constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width"><title>Latte</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.3rem .6rem}
th{font-weight:600;border-bottom:2px solid #ccc}td{border-bottom:1px solid #eee}
th:first-child,td:first-child{text-align:left}.bad{color:#b00020;font-weight:600}
</style></head><body><h1>Latte</h1>
)";

std::string latency(const Histogram& histogram) {
  constexpr uint64_t kNsPerUs = 1000;
  return fmt::format("{} / {}", histogram.quantile_ns(0.5) / kNsPerUs,
                     histogram.quantile_ns(0.99) / kNsPerUs);
}

std::string disk_row(const DiskFacts& facts, const DiskStats& disk) {
  const std::string state = facts.error.empty() ? disk.state : "failed";
  const std::string reason = facts.error.empty() ? disk.reason : facts.error;
  // A local disk has no cloud side to lag behind.
  const bool local = facts.kind == DiskKind::local;
  const std::string lag =
      fmt::format("{:.2f} s", static_cast<double>(disk.lag_ns) / static_cast<double>(kSecond));
  return fmt::format(
      "<tr><td>{}</td><td{} title=\"{}\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
      "<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
      escape_html(facts.options.name), state == "online" ? "" : " class=\"bad\"",
      escape_html(reason), escape_html(state), format_size(facts.options.size_bytes),
      local ? "local" : lag, local ? "" : format_size(disk.dirty_bytes),
      format_size(disk.read_bytes), format_size(disk.write_bytes),
      local ? "" : fmt::format("{:.1f} %", disk.read_hit_ratio() * 100), latency(disk.read_latency),
      latency(disk.write_latency), facts.clients);
}

}  // namespace

std::string describe_trouble(const StatusSnapshot& snapshot) {
  std::string out;
  if (snapshot.host.pool.failed) out += "pool: failed; the disks run from the cloud\n";
  for (const DiskFacts& facts : snapshot.disks) {
    if (facts.standby) continue;
    const DiskStats* stats = snapshot.stats_of(facts.options.name);
    if (!facts.error.empty())
      out += fmt::format("{}: not served: {}\n", facts.options.name, facts.error);
    else if (stats == nullptr || (stats->state != "online" && stats->state != "cloud-stalled"))
      out += fmt::format("{}: {}: {}\n", facts.options.name,
                         stats == nullptr ? "stopped" : stats->state,
                         stats == nullptr ? "" : stats->reason);
  }
  return out;
}

std::string status_page(const StatusSnapshot& snapshot) {
  const PoolStats& pool = snapshot.host.pool;
  std::string out(kHead);
  out += fmt::format("<p>Version {}, up {}. Pool: {} of {} used, {} dirty{}.</p>\n", LATTE_VERSION,
                     format_duration_s(snapshot.uptime_s), format_size(pool.used_bytes),
                     format_size(pool.size_bytes), format_size(pool.dirty_bytes),
                     pool.failed ? ", <span class=\"bad\">failed</span>" : "");
  out +=
      "<table><tr><th>disk</th><th>state</th><th>size</th><th>lag</th><th>dirty</th><th>read</th>"
      "<th>written</th><th>from pool</th><th>read us p50 / p99</th><th>write us p50 / p99</th>"
      "<th>clients</th></tr>\n";
  const DiskStats nothing;
  for (const DiskFacts& facts : snapshot.disks) {
    const DiskStats* stats = snapshot.stats_of(facts.options.name);
    out += disk_row(facts, stats == nullptr ? nothing : *stats);
  }
  return out +
         "</table><p><a href=\"/metrics\">metrics</a> <a href=\"/status\">status (JSON)</a></p>"
         "</body></html>\n";
}

}  // namespace latte
