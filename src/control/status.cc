#include "control/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "control/config_values.h"
#include "control/json_values.h"

namespace latte {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNsPerUs = 1e3;
constexpr double kNsPerSecond = 1e9;

Json latency_json(const Histogram& histogram) {
  const auto us = [&](double quantile) {
    return static_cast<double>(histogram.quantile_ns(quantile)) / kNsPerUs;
  };
  return Json{{"p50", us(0.50)}, {"p99", us(0.99)}, {"p999", us(0.999)}};
}

Json traffic_json(const DeviceTraffic& traffic) {
  return Json{{"reads", traffic.reads},
              {"writes", traffic.writes},
              {"read_bytes", traffic.read_bytes},
              {"write_bytes", traffic.write_bytes},
              {"errors", traffic.errors}};
}

Json or_null(uint64_t limit) { return limit == 0 ? Json(nullptr) : Json(limit); }

// What the cloud counts and sells; `null` where nothing limits.
Json metered_json(const CloudMeterStats& meter) {
  const auto of = [&](CloudClass io_class) {
    const CloudUse& use = meter.use[static_cast<size_t>(io_class)];
    return Json{{"requests", use.requests},
                {"operations", use.operations},
                {"bytes", use.bytes},
                {"waited_seconds", static_cast<double>(use.waited_ns) / kNsPerSecond}};
  };
  const auto limit = [](const RateLimit& rate, double credits) {
    return Json{{"per_second", or_null(rate.per_second)},
                {"burst_per_second", or_null(rate.burst_per_second)},
                {"credits", rate.burst_credits == 0 ? Json(nullptr) : Json(credits)},
                {"most_credits", or_null(rate.burst_credits)}};
  };
  return Json{{"operations", meter.total().operations},
              {"foreground", of(CloudClass::foreground)},
              {"ship", of(CloudClass::ship)},
              {"background", of(CloudClass::background)},
              {"waiting", meter.waiting},
              {"limited_seconds", static_cast<double>(meter.limited_ns) / kNsPerSecond},
              {"operation_bytes", meter.limits.operation_bytes},
              {"iops", limit(meter.limits.operations, meter.operation_credits)},
              {"bandwidth", limit(meter.limits.bytes, meter.byte_credits)}};
}

Json pool_json(const PoolStats& pool, const WriteBufferFacts& buffer) {
  return Json{
      {"size_bytes", pool.size_bytes},
      {"used_bytes", pool.used_bytes},
      {"dirty_bytes", pool.dirty_bytes},
      {"written_bytes",
       {{"user", pool.written.user},
        {"admission", pool.written.admission},
        {"reinsertion", pool.written.reinsertion},
        {"metadata", pool.written.metadata}}},
      {"index_bytes", pool.index_bytes},
      {"staged_bytes", pool.staged_bytes},
      {"failed", pool.failed},
      {"write_buffer", {{"size_bytes", buffer.size_bytes}, {"used_bytes", buffer.used_bytes}}}};
}

// What both kinds of disk have beside the contract's first keys.
void add_common(Json& json, const DiskFacts& facts, const DiskStats& disk) {
  json["kind"] = facts.kind == DiskKind::local ? "local" : "hybrid";
  json["id"] = disk.id.is_nil() ? "" : disk.id.to_string();
  json["reason"] = facts.error.empty() ? disk.reason : facts.error;
  json["nbd"] = facts.nbd_uri;
  json["clients"] = facts.clients;
  json["vhost"] = facts.vhost;
  json["vhost_connected"] = facts.vhost_connected;
  json["flushes"] = disk.flushes;
  json["discards"] = disk.discards;
}

Json local_json(const DiskFacts& facts, const DiskStats& disk) {
  Json json{{"name", facts.options.name},
            {"size_bytes", facts.options.size_bytes},
            {"state", facts.error.empty() ? disk.state : "failed"},
            {"reads", disk.reads},
            {"writes", disk.writes},
            {"read_bytes", disk.read_bytes},
            {"write_bytes", disk.write_bytes},
            {"read_latency_us", latency_json(disk.read_latency)},
            {"write_latency_us", latency_json(disk.write_latency)}};
  add_common(json, facts, disk);
  json["thin"] = facts.thin;
  json["allocated_bytes"] = disk.allocated_bytes;
  return json;
}

std::string state_of(const DiskFacts& facts, const DiskStats& disk) {
  if (facts.standby) return "standby";
  return facts.error.empty() ? disk.state : "failed";
}

Json advisor_json(const std::optional<AdvisorFacts>& advisor) {
  if (!advisor) return nullptr;
  return Json{{"busy_iops", advisor->busy_iops},
              {"advised_iops", advisor->periods == 0 ? Json(nullptr) : Json(advisor->advised_iops)},
              {"periods", advisor->periods},
              {"hook_failures", advisor->hook_failures},
              {"hook_error", advisor->hook_error}};
}

// Money a month: as it is, and as the advisor would have it.
Json cost_json(const StatusSnapshot& snapshot, const DiskFacts& facts, const DiskStats& disk) {
  if (!snapshot.prices.any()) return nullptr;
  const uint64_t bytes = facts.options.size_bytes + facts.cloud_log_bytes;
  const auto seconds = static_cast<double>(std::max<uint64_t>(1, snapshot.uptime_s));
  const double rate = static_cast<double>(disk.cloud_meter.total().operations) / seconds;
  CloudLimits limits = disk.cloud_meter.limits;
  const MonthlyCost cost = monthly_cost(snapshot.prices, bytes, limits, rate);
  Json advised = nullptr;
  if (facts.advisor && facts.advisor->periods > 0) {
    limits.operations.per_second = facts.advisor->advised_iops;
    advised = monthly_cost(snapshot.prices, bytes, limits, rate).total();
  }
  return Json{{"currency", snapshot.prices.currency},
              {"capacity", cost.capacity},
              {"iops", cost.iops},
              {"bandwidth", cost.bandwidth},
              {"operations", cost.operations},
              {"total", cost.total()},
              {"advised_total", std::move(advised)}};
}

Json disk_json(const StatusSnapshot& snapshot, const DiskFacts& facts, const DiskStats& disk) {
  if (facts.kind == DiskKind::local) return local_json(facts, disk);
  Json json{{"name", facts.options.name},
            {"size_bytes", facts.options.size_bytes},
            {"state", state_of(facts, disk)},
            {"generation", disk.generation},
            {"lag_seconds", static_cast<double>(disk.lag_ns) / kNsPerSecond},
            {"dirty_bytes", disk.dirty_bytes},
            {"reads", disk.reads},
            {"writes", disk.writes},
            {"read_bytes", disk.read_bytes},
            {"write_bytes", disk.write_bytes},
            {"read_hit_ratio", disk.read_hit_ratio()},
            {"read_latency_us", latency_json(disk.read_latency)},
            {"write_latency_us", latency_json(disk.write_latency)},
            {"cloud", traffic_json(disk.cloud)}};
  // Beyond the contract.
  json["cloud"]["name"] = facts.cloud;
  json["cloud"]["health"] = cloud_health(disk);
  json["cloud"]["reason"] =
      disk.cloud_error == IoStatus::ok ? "" : std::string(to_string(disk.cloud_error));
  json["cloud"]["waiting_seconds"] = static_cast<double>(disk.cloud_waiting_ns) / kNsPerSecond;
  json["cloud"]["metered"] = metered_json(disk.cloud_meter);
  json["cloud"]["advisor"] = advisor_json(facts.advisor);
  json["cloud"]["cost_month"] = cost_json(snapshot, facts, disk);
  add_common(json, facts, disk);
  json["durability"] = facts.options.durability == Durability::cloud ? "cloud" : "local";
  if (facts.options.max_lag_ns == kNoLagLimit)
    json["max_lag_seconds"] = nullptr;
  else
    json["max_lag_seconds"] = static_cast<double>(facts.options.max_lag_ns) / kNsPerSecond;
  json["unapplied_bytes"] = disk.unapplied_bytes;
  json["cached_bytes"] = disk.cached_blocks * kBlockBytes;
  json["dispatcher"] = name_of(facts.options.dispatch.mode);
  json["cloud_served_bytes"] = disk.cloud_served_blocks * kBlockBytes;
  json["early_written_bytes"] = disk.early_blocks * kBlockBytes;
  json["early_overtaken_bytes"] = disk.early_overtaken_blocks * kBlockBytes;
  json["hedged_bytes"] = disk.hedged_blocks * kBlockBytes;
  json["admission"] = {{"admitted_bytes", disk.admitted_blocks * kBlockBytes},
                       {"refused_bytes", disk.unadmitted_blocks * kBlockBytes},
                       {"stream_bytes", disk.stream_blocks * kBlockBytes},
                       {"memory_served_bytes", disk.memory_served_blocks * kBlockBytes}};
  json["read_ahead"] = {{"window_bytes", facts.options.read_ahead.window_bytes},
                        {"fetched_bytes", disk.ahead_blocks * kBlockBytes},
                        {"served_bytes", disk.ahead_served_blocks * kBlockBytes}};
  json["checksum_errors"] = disk.checksum_errors;
  json["lost_bytes"] = disk.lost_blocks * kBlockBytes;
  json["throttled_seconds"] = static_cast<double>(disk.throttled_ns) / kNsPerSecond;
  return json;
}

// Values out of a document that may lack them or have another type there.
uint64_t number(const Json& object, const char* key) { return value_of(object, key, uint64_t{0}); }
double real(const Json& object, const char* key) { return value_of(object, key, 0.0); }
std::string words(const Json& object, const char* key) {
  return value_of(object, key, std::string());
}
Json part(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() ? *found : Json::object();
}

// "3000 a second, to 9000 with credits (17 % of 5400000 left)"; empty without a limit.
std::string limit_text(const Json& limit, const std::function<std::string(uint64_t)>& shown) {
  const uint64_t rate = number(limit, "per_second");
  if (rate == 0) return "";
  std::string text = fmt::format("{} a second", shown(rate));
  const uint64_t most = number(limit, "most_credits");
  if (most > 0)
    text += fmt::format(
        ", to {} with credits ({:.0f} % of {} left)", shown(number(limit, "burst_per_second")),
        std::max(0.0, real(limit, "credits")) * 100 / static_cast<double>(most), shown(most));
  return text;
}

// What the cloud counts, and what it sells.
std::string metered_text(const Json& metered) {
  if (metered.empty()) return "";
  const auto of = [&](const char* what) { return number(part(metered, what), "operations"); };
  std::string text = fmt::format(
      "  operations {}: {} for clients' reads, {} to ship, {} behind; limited {:.1f} s\n",
      number(metered, "operations"), of("foreground"), of("ship"), of("background"),
      real(metered, "limited_seconds"));
  const std::string iops =
      limit_text(part(metered, "iops"), [](uint64_t n) { return fmt::format("{}", n); });
  if (!iops.empty()) text += fmt::format("  iops       {}\n", iops);
  const std::string bandwidth = limit_text(part(metered, "bandwidth"), format_size);
  if (!bandwidth.empty()) text += fmt::format("  bandwidth  {}\n", bandwidth);
  return text;
}

std::string advisor_text(const Json& advisor) {
  if (!advisor.is_object() || advisor.empty()) return "";
  std::string text = fmt::format("  advisor    {} operations a second in busy seconds",
                                 number(advisor, "busy_iops"));
  if (number(advisor, "periods") > 0)
    text += fmt::format("; {} advised", number(advisor, "advised_iops"));
  if (!words(advisor, "hook_error").empty())
    text += fmt::format("; {}", words(advisor, "hook_error"));
  return text + "\n";
}

std::string cost_text(const Json& cost) {
  if (!cost.is_object() || cost.empty()) return "";
  std::string text = fmt::format(
      "  cost       {:.2f} {} a month: capacity {:.2f}, iops {:.2f}, bandwidth {:.2f}, "
      "operations {:.2f}",
      real(cost, "total"), words(cost, "currency"), real(cost, "capacity"), real(cost, "iops"),
      real(cost, "bandwidth"), real(cost, "operations"));
  const auto advised = cost.find("advised_total");
  if (advised != cost.end() && advised->is_number())
    text += fmt::format("; as advised {:.2f}", advised->get<double>());
  return text + "\n";
}

// A volume beside the log has neither cloud nor lag.
std::string where_text(const Json& disk) {
  const Json cloud = part(disk, "cloud");
  std::string text =
      fmt::format("  cloud      {}: {} read in {}, {} written in {}\n", words(cloud, "name"),
                  format_size(number(cloud, "read_bytes")), number(cloud, "reads"),
                  format_size(number(cloud, "write_bytes")), number(cloud, "writes"));
  text += metered_text(part(cloud, "metered")) + advisor_text(part(cloud, "advisor")) +
          cost_text(part(cloud, "cost_month"));
  const auto limit = disk.find("max_lag_seconds");
  const bool bounded = limit != disk.end() && limit->is_number();
  text += fmt::format("  lag        {:.3f} s ({}), {} dirty\n", real(disk, "lag_seconds"),
                      bounded ? fmt::format("limit {} s", limit->get<double>()) : "no limit",
                      format_size(number(disk, "dirty_bytes")));
  return text;
}

std::string disk_text(const Json& disk) {
  const bool local = words(disk, "kind") == "local";
  std::string text =
      fmt::format("disk {}: {}, {}, {}\n", words(disk, "name"), words(disk, "state"),
                  format_size(number(disk, "size_bytes")),
                  local ? "local" : fmt::format("generation {}", number(disk, "generation")));
  if (!words(disk, "reason").empty())
    text += fmt::format("  reason     {}\n", words(disk, "reason"));
  if (!words(disk, "nbd").empty())
    text +=
        fmt::format("  nbd        {}, {} clients\n", words(disk, "nbd"), number(disk, "clients"));
  if (!words(disk, "vhost").empty())
    text += fmt::format("  vhost      {}, {}\n", words(disk, "vhost"),
                        part(disk, "vhost_connected") == Json(true) ? "a guest" : "no guest");
  if (local)
    text +=
        fmt::format("  space      {} allocated, {}\n", format_size(number(disk, "allocated_bytes")),
                    part(disk, "thin") == Json(true) ? "thin" : "thick");
  else
    text += where_text(disk);
  const auto traffic = [&](const char* what, const char* count, const char* bytes,
                           const char* latency, const std::string& more) {
    const Json us = part(disk, latency);
    text += fmt::format("  {:<10} {}, {}; {:.0f} us median, {:.0f} us p99, {:.0f} us p99.9{}\n",
                        what, number(disk, count), format_size(number(disk, bytes)),
                        real(us, "p50"), real(us, "p99"), real(us, "p999"), more);
  };
  traffic("reads", "reads", "read_bytes", "read_latency_us",
          local ? "" : fmt::format("; {:.1f} % from the pool", real(disk, "read_hit_ratio") * 100));
  traffic("writes", "writes", "write_bytes", "write_latency_us", "");
  return text;
}

}  // namespace

const DiskStats* StatusSnapshot::stats_of(const std::string& name) const {
  for (const DiskStats& disk : host.disks)
    if (disk.name == name) return &disk;
  return nullptr;
}

Json status_json(const StatusSnapshot& snapshot) {
  Json disks = Json::array();
  const DiskStats nothing;
  for (const DiskFacts& facts : snapshot.disks) {
    const DiskStats* stats = snapshot.stats_of(facts.options.name);
    disks.push_back(disk_json(snapshot, facts, stats == nullptr ? nothing : *stats));
  }
  Json volumes = nullptr;
  if (snapshot.volumes)
    volumes = Json{{"size_bytes", snapshot.volumes->size_bytes},
                   {"free_bytes", snapshot.volumes->free_bytes}};
  return Json{{"version", LATTE_VERSION},
              {"pool", pool_json(snapshot.host.pool, snapshot.write_buffer)},
              {"disks", std::move(disks)},
              {"uptime_seconds", snapshot.uptime_s},
              {"volumes", std::move(volumes)}};
}

std::string status_text(const Json& status) {
  const Json pool = part(status, "pool");
  const Json written = part(pool, "written_bytes");
  const bool failed = part(pool, "failed") == Json(true);
  std::string text = fmt::format(
      "latte {}, up {}\npool: {} of {} used, {} dirty{}\n"
      "  written    {} user, {} admission, {} reinsertion, {} metadata\n",
      words(status, "version"), format_duration_s(number(status, "uptime_seconds")),
      format_size(number(pool, "used_bytes")), format_size(number(pool, "size_bytes")),
      format_size(number(pool, "dirty_bytes")), failed ? ", FAILED" : "",
      format_size(number(written, "user")), format_size(number(written, "admission")),
      format_size(number(written, "reinsertion")), format_size(number(written, "metadata")));
  const Json volumes = part(status, "volumes");
  if (volumes.is_object() && !volumes.empty())
    text += fmt::format("volumes: {} of {} free\n", format_size(number(volumes, "free_bytes")),
                        format_size(number(volumes, "size_bytes")));
  const Json disks = part(status, "disks");
  if (disks.is_array())
    for (const Json& disk : disks) text += disk_text(disk);
  return text;
}

}  // namespace latte
