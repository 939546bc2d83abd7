#include "control/config_cloud.h"

#include <fmt/format.h>

#include "control/config_values.h"

namespace latte {
namespace {

/// Beyond any volume's, and small enough that a sum of costs stays exact.
constexpr uint64_t kMaxRate = uint64_t{1} << 40;
constexpr uint64_t kMaxOperationBytes = 16u << 20;
constexpr size_t kMaxHookArguments = 32;
constexpr TimeNs kMinPeriodNs = 10 * kSecond;
constexpr double kMaxPrice = 1e9;

/// The three keys of one limit belong together.
bool check_burst(ConfigReader& reader, const toml::table& table, const std::string& key,
                 const char* base, const char* burst, const char* credits, const RateLimit& limit) {
  const bool has_burst = table.contains(burst);
  if (has_burst != table.contains(credits) || (has_burst && !table.contains(base))) {
    const char* there = has_burst ? burst : credits;
    return reader.fail(*table.get(there), fmt::format("{}.{}", key, there),
                       fmt::format("needs {}, {} and {} together: what is sold all the time, how "
                                   "fast saved credits may be spent, and how many can be saved",
                                   base, burst, credits));
  }
  if (!has_burst || limit.burst_per_second > limit.per_second) return true;
  return reader.fail(
      *table.get(burst), fmt::format("{}.{}", key, burst),
      fmt::format("is not above {}; remove it and {}, or make it larger", base, credits));
}

}  // namespace

bool read_cloud_limits(ConfigReader& reader, const toml::table& table, const std::string& key,
                       CloudLimits& limits) {
  RateLimit& operations = limits.operations;
  RateLimit& bytes = limits.bytes;
  const auto operation_size = [&](const toml::node& node, const std::string& name) {
    if (!reader.size(limits.operation_bytes, kBlockBytes)(node, name)) return false;
    if (limits.operation_bytes <= kMaxOperationBytes) return true;
    return reader.fail(
        node, name, fmt::format("is too large; write at most {}", format_size(kMaxOperationBytes)));
  };
  return reader.read_table(
             table, key,
             {{"iops", false, reader.number(operations.per_second, 1, kMaxRate, "operations")},
              {"burst_iops", false,
               reader.number(operations.burst_per_second, 1, kMaxRate, "operations")},
              {"burst_credits", false,
               reader.number(operations.burst_credits, 1, kMaxRate, "operations")},
              {"bandwidth", false, reader.size(bytes.per_second, 1)},
              {"burst_bandwidth", false, reader.size(bytes.burst_per_second, 1)},
              {"burst_bytes", false, reader.size(bytes.burst_credits, 1)},
              {"operation_size", false, operation_size}}) &&
         check_burst(reader, table, key, "iops", "burst_iops", "burst_credits", operations) &&
         check_burst(reader, table, key, "bandwidth", "burst_bandwidth", "burst_bytes", bytes);
}

bool read_advisor(ConfigReader& reader, const toml::table& table, const std::string& key,
                  AdvisorConfig& advisor) {
  AdvisorLimits& limits = advisor.limits;
  const auto hook = [&](const toml::node& node, const std::string& name) {
    const auto* list = node.as_array();
    if (list == nullptr || list->empty() || list->size() > kMaxHookArguments)
      return reader.fail(node, name,
                         fmt::format("is no list of 1 to {} texts; write a program's path and its "
                                     "arguments, such as [\"/usr/local/bin/set-iops\", \"vol-7\"]",
                                     kMaxHookArguments));
    for (const toml::node& item : *list) {
      std::string& argument = advisor.hook.emplace_back();
      const auto set = advisor.hook.size() == 1 ? reader.path(argument) : reader.text(argument);
      if (!set(item, name)) return false;
    }
    return true;
  };
  const bool read = reader.read_table(
      table, key,
      {{"period", false, reader.duration(advisor.period_ns)},
       {"min_iops", true, reader.number(limits.min_iops, 1, kMaxRate, "operations")},
       {"max_iops", true, reader.number(limits.max_iops, 1, kMaxRate, "operations")},
       {"step", false, reader.number(limits.step_iops, 1, kMaxRate, "operations")},
       {"hook", false, hook},
       {"hook_timeout", false, reader.duration(advisor.hook_limit_ns)}});
  if (!read) return false;
  if (limits.min_iops > limits.max_iops)
    return reader.fail(*table.get("min_iops"), key + ".min_iops", "is above max_iops; swap them");
  if (advisor.period_ns < kMinPeriodNs)
    return reader.fail(*table.get("period"), key + ".period",
                       "is too short; write at least \"10s\"");
  return true;
}

bool check_advisor(ConfigReader& reader, const toml::node& node, const std::string& key,
                   const CloudLimits& limits) {
  if (limits.operations.per_second != 0) return true;
  return reader.fail(node, key,
                     "needs to know what there is at the start; write cloud_limits.iops");
}

bool read_prices(ConfigReader& reader, const toml::table& table, const std::string& key,
                 PriceTable& prices) {
  const auto amount = [&](double& out) {
    return [&](const toml::node& node, const std::string& name) {
      const auto value = node.value<double>();
      if (!node.is_number() || !value || !(*value >= 0 && *value <= kMaxPrice))
        return reader.fail(node, name,
                           fmt::format("is no price; write a number from 0 to {}", kMaxPrice));
      out = *value;
      return true;
    };
  };
  return reader.read_table(table, key,
                           {{"currency", true, reader.text(prices.currency)},
                            {"gib_month", false, amount(prices.gib_month)},
                            {"iops_month", false, amount(prices.iops_month)},
                            {"free_iops", false, amount(prices.free_iops)},
                            {"mibs_month", false, amount(prices.mibs_month)},
                            {"free_mibs", false, amount(prices.free_mibs)},
                            {"million_operations", false, amount(prices.million_operations)}});
}

}  // namespace latte
