#include "control/config_cloud.h"

#include <fmt/format.h>

#include "control/config_values.h"

namespace latte {
namespace {

/// Beyond any volume's, and small enough that a sum of costs stays exact.
constexpr uint64_t kMaxRate = uint64_t{1} << 40;
constexpr uint64_t kMaxOperationBytes = 16u << 20;

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

}  // namespace latte
