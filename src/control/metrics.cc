#include "control/metrics.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>

namespace latte {
namespace {

constexpr double kNsPerSecond = 1e9;

double seconds(TimeNs ns) { return static_cast<double>(ns) / kNsPerSecond; }
double seconds_of(uint64_t ns) { return static_cast<double>(ns) / kNsPerSecond; }
double count(uint64_t value) { return static_cast<double>(value); }
double blocks(uint64_t value) { return static_cast<double>(value * kBlockBytes); }

struct Metric {
  std::string_view name;
  std::string_view type;  // gauge, counter, summary
  std::string_view unit;
  std::string_view help;
  std::string_view label;  // a fixed one, as it stands in the text; rows of one name stand together
  // One of these is set: it says what the metric belongs to.
  double (*of_server)(const StatusSnapshot&) = nullptr;
  double (*of_disk)(const DiskFacts&, const DiskStats&) = nullptr;
  const Histogram& (*of_latency)(const DiskStats&) = nullptr;
  // If it makes sense for one kind of disk only.
  std::optional<DiskKind> only = std::nullopt;
};

using Server = const StatusSnapshot&;
using Facts = const DiskFacts&;
using Disk = const DiskStats&;

constexpr Metric server_metric(std::string_view name, std::string_view type, std::string_view unit,
                               std::string_view help, double (*value)(Server),
                               std::string_view label = "") {
  return {name, type, unit, help, label, value};
}
constexpr Metric disk_metric(std::string_view name, std::string_view type, std::string_view unit,
                             std::string_view help, double (*value)(Facts, Disk),
                             std::string_view label = "") {
  return {name, type, unit, help, label, nullptr, value};
}
constexpr Metric hybrid_metric(std::string_view name, std::string_view type, std::string_view unit,
                               std::string_view help, double (*value)(Facts, Disk),
                               std::string_view label = "") {
  return {name, type, unit, help, label, nullptr, value, nullptr, DiskKind::hybrid};
}
constexpr Metric latency_metric(std::string_view name, std::string_view help,
                                const Histogram& (*value)(Disk)) {
  return {name, "summary", "seconds", help, "", nullptr, nullptr, value};
}

constexpr std::string_view kWritten =
    "Bytes written to the pool, by cause; write overhead is all but user over user";
constexpr std::string_view kCloudBytes =
    "Bytes moved to and from the cloud volume, background work included";
constexpr std::string_view kCloudRequests = "Requests to the cloud volume, repeated ones included";
constexpr std::string_view kMissed =
    "Bytes of blocks that reads fetched from the cloud: copied into the pool; worth it, but "
    "clients' data or the write budget came first; of sequential streams, which pass the pool by. "
    "The rest was not worth a copy yet";
constexpr std::string_view kCloudOperations =
    "Operations as the cloud counts them, by whom they were for";
constexpr std::string_view kCloudWaited = "Waits for a turn within the cloud's limits, summed up";
constexpr std::string_view kReadBlocks = "Bytes of blocks read, by where they came from";

constexpr Metric kMetrics[] = {
    server_metric("latte_uptime_seconds", "gauge", "seconds", "Time since the server started",
                  [](Server s) { return count(s.uptime_s); }),
    server_metric("latte_pool_size_bytes", "gauge", "bytes", "Room for segments in the pool",
                  [](Server s) { return count(s.host.pool.size_bytes); }),
    server_metric("latte_pool_used_bytes", "gauge", "bytes",
                  "In segments of the pool that are not free",
                  [](Server s) { return count(s.host.pool.used_bytes); }),
    server_metric("latte_pool_dirty_bytes", "gauge", "bytes",
                  "In the pool and not yet in a cloud log, all disks",
                  [](Server s) { return count(s.host.pool.dirty_bytes); }),
    server_metric("latte_pool_index_bytes", "gauge", "bytes",
                  "Memory of index, checksums and access counts",
                  [](Server s) { return count(s.host.pool.index_bytes); }),
    server_metric("latte_pool_staged_bytes", "gauge", "bytes",
                  "Blocks that reads missed for the first time, in memory",
                  [](Server s) { return count(s.host.pool.staged_bytes); }),
    server_metric("latte_pool_failed", "gauge", "bool",
                  "1 if the pool device failed: the disks run from the cloud",
                  [](Server s) { return s.host.pool.failed ? 1.0 : 0.0; }),
    server_metric(
        "latte_pool_written_bytes_total", "counter", "bytes", kWritten,
        [](Server s) { return count(s.host.pool.written.user); }, "cause=\"user\""),
    server_metric(
        "latte_pool_written_bytes_total", "counter", "bytes", kWritten,
        [](Server s) { return count(s.host.pool.written.admission); }, "cause=\"admission\""),
    server_metric(
        "latte_pool_written_bytes_total", "counter", "bytes", kWritten,
        [](Server s) { return count(s.host.pool.written.reinsertion); }, "cause=\"reinsertion\""),
    server_metric(
        "latte_pool_written_bytes_total", "counter", "bytes", kWritten,
        [](Server s) { return count(s.host.pool.written.metadata); }, "cause=\"metadata\""),
    server_metric("latte_pool_write_buffer_size_bytes", "gauge", "bytes",
                  "Memory for acknowledged writes on their way to the pool; 0 without it",
                  [](Server s) { return count(s.write_buffer.size_bytes); }),
    server_metric("latte_pool_write_buffer_used_bytes", "gauge", "bytes",
                  "Acknowledged writes on their way to the pool",
                  [](Server s) { return count(s.write_buffer.used_bytes); }),
    server_metric("latte_volumes_size_bytes", "gauge", "bytes",
                  "Room for volumes in the pool's volume area; 0 without one",
                  [](Server s) { return s.volumes ? count(s.volumes->size_bytes) : 0; }),
    server_metric("latte_volumes_free_bytes", "gauge", "bytes",
                  "Room in the volume area that no volume has",
                  [](Server s) { return s.volumes ? count(s.volumes->free_bytes) : 0; }),
    disk_metric("latte_disk_online", "gauge", "bool",
                "1 if the disk's state is online; otherwise latte status says why",
                [](Facts f, Disk d) { return f.error.empty() && d.state == "online" ? 1.0 : 0.0; }),
    disk_metric("latte_disk_size_bytes", "gauge", "bytes", "Size of the disk",
                [](Facts f, Disk) { return count(f.options.size_bytes); }),
    Metric{"latte_disk_allocated_bytes", "gauge", "bytes",
           "Of the volume area in the disk's volume; local disks only", "", nullptr,
           [](Facts, Disk d) { return count(d.allocated_bytes); }, nullptr, DiskKind::local},
    hybrid_metric("latte_disk_generation", "gauge", "number",
                  "Raised at every attach and take-over",
                  [](Facts, Disk d) { return count(d.generation); }),
    disk_metric("latte_disk_clients", "gauge", "connections", "NBD clients connected",
                [](Facts f, Disk) { return count(f.clients); }),
    hybrid_metric(
        "latte_disk_lag_seconds", "gauge", "seconds",
        "Age of the oldest acknowledged write that the cloud log does not hold: the live RPO",
        [](Facts, Disk d) { return seconds(d.lag_ns); }),
    hybrid_metric("latte_disk_dirty_bytes", "gauge", "bytes", "Not yet in the cloud log",
                  [](Facts, Disk d) { return count(d.dirty_bytes); }),
    hybrid_metric("latte_disk_unapplied_bytes", "gauge", "bytes",
                  "In the cloud log, not yet in the base",
                  [](Facts, Disk d) { return count(d.unapplied_bytes); }),
    hybrid_metric("latte_disk_cached_bytes", "gauge", "bytes", "Readable from the pool",
                  [](Facts, Disk d) { return blocks(d.cached_blocks); }),
    disk_metric("latte_disk_reads_total", "counter", "requests", "Reads of clients",
                [](Facts, Disk d) { return count(d.reads); }),
    disk_metric("latte_disk_writes_total", "counter", "requests", "Writes of clients",
                [](Facts, Disk d) { return count(d.writes); }),
    disk_metric("latte_disk_flushes_total", "counter", "requests", "Flushes of clients",
                [](Facts, Disk d) { return count(d.flushes); }),
    disk_metric("latte_disk_discards_total", "counter", "requests",
                "Discards and zeroings of clients",
                [](Facts, Disk d) { return count(d.discards); }),
    disk_metric("latte_disk_read_bytes_total", "counter", "bytes", "Bytes read by clients",
                [](Facts, Disk d) { return count(d.read_bytes); }),
    disk_metric("latte_disk_write_bytes_total", "counter", "bytes", "Bytes written by clients",
                [](Facts, Disk d) { return count(d.write_bytes); }),
    hybrid_metric(
        "latte_disk_read_block_bytes_total", "counter", "bytes", kReadBlocks,
        [](Facts, Disk d) { return blocks(d.read_hit_blocks); }, "from=\"pool\""),
    hybrid_metric(
        "latte_disk_read_block_bytes_total", "counter", "bytes", kReadBlocks,
        [](Facts, Disk d) { return blocks(d.read_miss_blocks); }, "from=\"cloud\""),
    hybrid_metric(
        "latte_disk_read_block_bytes_total", "counter", "bytes", kReadBlocks,
        [](Facts, Disk d) { return blocks(d.memory_served_blocks); }, "from=\"memory\""),
    hybrid_metric("latte_disk_cloud_served_bytes_total", "counter", "bytes",
                  "Bytes of blocks that the pool had and the cloud was asked for, to be sooner",
                  [](Facts, Disk d) { return blocks(d.cloud_served_blocks); }),
    hybrid_metric("latte_disk_early_written_bytes_total", "counter", "bytes",
                  "Bytes of blocks written straight to the cloud, to be sooner",
                  [](Facts, Disk d) { return blocks(d.early_blocks); }),
    hybrid_metric("latte_disk_early_overtaken_bytes_total", "counter", "bytes",
                  "Likewise, but then the pool was sooner: written to both",
                  [](Facts, Disk d) { return blocks(d.early_overtaken_blocks); }),
    hybrid_metric("latte_disk_hedged_bytes_total", "counter", "bytes",
                  "Bytes of blocks asked of the cloud as well, since the pool took long",
                  [](Facts, Disk d) { return blocks(d.hedged_blocks); }),
    hybrid_metric(
        "latte_disk_missed_block_bytes_total", "counter", "bytes", kMissed,
        [](Facts, Disk d) { return blocks(d.admitted_blocks); }, "fate=\"admitted\""),
    hybrid_metric(
        "latte_disk_missed_block_bytes_total", "counter", "bytes", kMissed,
        [](Facts, Disk d) { return blocks(d.unadmitted_blocks); }, "fate=\"refused\""),
    hybrid_metric(
        "latte_disk_missed_block_bytes_total", "counter", "bytes", kMissed,
        [](Facts, Disk d) { return blocks(d.stream_blocks); }, "fate=\"stream\""),
    hybrid_metric("latte_disk_read_ahead_bytes_total", "counter", "bytes",
                  "Bytes fetched from the cloud ahead of sequential streams",
                  [](Facts, Disk d) { return blocks(d.ahead_blocks); }),
    hybrid_metric("latte_disk_read_ahead_served_bytes_total", "counter", "bytes",
                  "Of them, bytes that clients then asked for",
                  [](Facts, Disk d) { return blocks(d.ahead_served_blocks); }),
    hybrid_metric("latte_disk_checksum_errors_total", "counter", "blocks",
                  "Blocks whose checksum did not match when they were read",
                  [](Facts, Disk d) { return count(d.checksum_errors); }),
    hybrid_metric("latte_disk_lost_bytes", "gauge", "bytes", "Blocks whose only copy is gone",
                  [](Facts, Disk d) { return blocks(d.lost_blocks); }),
    hybrid_metric("latte_disk_throttled_seconds_total", "counter", "seconds",
                  "Waits put on writers by back-pressure, summed up",
                  [](Facts, Disk d) { return seconds_of(d.throttled_ns); }),
    latency_metric("latte_disk_read_latency_seconds", "Duration of clients' reads since the start",
                   [](Disk d) -> const Histogram& { return d.read_latency; }),
    latency_metric("latte_disk_write_latency_seconds",
                   "Duration of clients' writes since the start",
                   [](Disk d) -> const Histogram& { return d.write_latency; }),
    hybrid_metric(
        "latte_disk_cloud_requests_total", "counter", "requests", kCloudRequests,
        [](Facts, Disk d) { return count(d.cloud.reads); }, "op=\"read\""),
    hybrid_metric(
        "latte_disk_cloud_requests_total", "counter", "requests", kCloudRequests,
        [](Facts, Disk d) { return count(d.cloud.writes); }, "op=\"write\""),
    hybrid_metric(
        "latte_disk_cloud_bytes_total", "counter", "bytes", kCloudBytes,
        [](Facts, Disk d) { return count(d.cloud.read_bytes); }, "op=\"read\""),
    hybrid_metric(
        "latte_disk_cloud_bytes_total", "counter", "bytes", kCloudBytes,
        [](Facts, Disk d) { return count(d.cloud.write_bytes); }, "op=\"write\""),
    hybrid_metric(
        "latte_disk_cloud_operations_total", "counter", "operations", kCloudOperations,
        [](Facts, Disk d) { return count(d.cloud_meter.use[0].operations); }, "for=\"foreground\""),
    hybrid_metric(
        "latte_disk_cloud_operations_total", "counter", "operations", kCloudOperations,
        [](Facts, Disk d) { return count(d.cloud_meter.use[1].operations); }, "for=\"ship\""),
    hybrid_metric(
        "latte_disk_cloud_operations_total", "counter", "operations", kCloudOperations,
        [](Facts, Disk d) { return count(d.cloud_meter.use[2].operations); }, "for=\"background\""),
    hybrid_metric(
        "latte_disk_cloud_waited_seconds_total", "counter", "seconds", kCloudWaited,
        [](Facts, Disk d) { return seconds_of(d.cloud_meter.use[0].waited_ns); },
        "for=\"foreground\""),
    hybrid_metric(
        "latte_disk_cloud_waited_seconds_total", "counter", "seconds", kCloudWaited,
        [](Facts, Disk d) { return seconds_of(d.cloud_meter.use[1].waited_ns); }, "for=\"ship\""),
    hybrid_metric(
        "latte_disk_cloud_waited_seconds_total", "counter", "seconds", kCloudWaited,
        [](Facts, Disk d) { return seconds_of(d.cloud_meter.use[2].waited_ns); },
        "for=\"background\""),
    hybrid_metric("latte_disk_cloud_limited_seconds_total", "counter", "seconds",
                  "Time during which requests waited for the cloud's limits",
                  [](Facts, Disk d) { return seconds_of(d.cloud_meter.limited_ns); }),
    hybrid_metric(
        "latte_disk_cloud_limit", "gauge", "a second",
        "What the cloud sells all the time; 0: no limit",
        [](Facts, Disk d) { return count(d.cloud_meter.limits.operations.per_second); },
        "of=\"operations\""),
    hybrid_metric(
        "latte_disk_cloud_limit", "gauge", "a second",
        "What the cloud sells all the time; 0: no limit",
        [](Facts, Disk d) { return count(d.cloud_meter.limits.bytes.per_second); }, "of=\"bytes\""),
    hybrid_metric(
        "latte_disk_cloud_credits", "gauge", "operations, bytes",
        "Saved up for bursts; negative: owed",
        [](Facts, Disk d) { return d.cloud_meter.operation_credits; }, "of=\"operations\""),
    hybrid_metric(
        "latte_disk_cloud_credits", "gauge", "operations, bytes",
        "Saved up for bursts; negative: owed",
        [](Facts, Disk d) { return d.cloud_meter.byte_credits; }, "of=\"bytes\""),
    hybrid_metric("latte_disk_cloud_errors_total", "counter", "requests",
                  "Requests to the cloud volume that failed; they are tried again",
                  [](Facts, Disk d) { return count(d.cloud.errors); }),
};

constexpr double kQuantiles[] = {0.5, 0.99, 0.999};

void add_latency(std::string& out, const Metric& metric, const std::string& label,
                 const Histogram& histogram) {
  for (double quantile : kQuantiles)
    out += fmt::format("{}{{{},quantile=\"{}\"}} {}\n", metric.name, label, quantile,
                       count(histogram.quantile_ns(quantile)) / kNsPerSecond);
  out += fmt::format("{}_sum{{{}}} {}\n", metric.name, label,
                     count(histogram.sum_ns()) / kNsPerSecond);
  out += fmt::format("{}_count{{{}}} {}\n", metric.name, label, histogram.count());
}

void add_disks(std::string& out, const Metric& metric, const StatusSnapshot& snapshot) {
  const DiskStats nothing;
  for (const DiskFacts& facts : snapshot.disks) {
    if (metric.only && *metric.only != facts.kind) continue;
    const DiskStats* found = snapshot.stats_of(facts.options.name);
    const DiskStats& stats = found == nullptr ? nothing : *found;
    // A disk's name needs no escaping: the configuration allows letters, digits, '.', '_' and '-'.
    std::string label = fmt::format("disk=\"{}\"", facts.options.name);
    if (metric.of_latency != nullptr) {
      add_latency(out, metric, label, metric.of_latency(stats));
      continue;
    }
    if (!metric.label.empty()) label += fmt::format(",{}", metric.label);
    out += fmt::format("{}{{{}}} {}\n", metric.name, label, metric.of_disk(facts, stats));
  }
}

}  // namespace

std::string metrics_text(const StatusSnapshot& snapshot) {
  std::string out =
      "# HELP latte_build_info The version, as a label; the value is 1\n# TYPE latte_build_info "
      "gauge\n"
      "latte_build_info{version=\"" LATTE_VERSION "\"} 1\n";
  std::string_view last;
  for (const Metric& metric : kMetrics) {
    if (metric.name != last)
      out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", metric.name, metric.help, metric.type);
    last = metric.name;
    if (metric.of_server == nullptr) {
      add_disks(out, metric, snapshot);
    } else if (metric.label.empty()) {
      out += fmt::format("{} {}\n", metric.name, metric.of_server(snapshot));
    } else {
      out += fmt::format("{}{{{}}} {}\n", metric.name, metric.label, metric.of_server(snapshot));
    }
  }
  return out;
}

std::string metrics_markdown() {
  std::string out =
      "| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
      "| `latte_build_info` | gauge | 1 | `version` | The version, as a label; the value is 1 |\n";
  std::string_view last;
  for (const Metric& metric : kMetrics) {
    if (metric.name == last) continue;
    last = metric.name;
    std::string labels;
    const auto add = [&](std::string_view name) {
      labels += fmt::format("{}`{}`", labels.empty() ? "" : ", ", name);
    };
    if (metric.of_server == nullptr) add("disk");
    if (!metric.label.empty()) add(metric.label.substr(0, metric.label.find('=')));
    if (metric.of_latency != nullptr) add("quantile");
    out += fmt::format("| `{}` | {} | {} | {} | {} |\n", metric.name, metric.type, metric.unit,
                       labels, metric.help);
  }
  return out;
}

}  // namespace latte
