#include "device/cloud_price.h"

#include <algorithm>

namespace latte {
namespace {

constexpr double kGiB = 1 << 30;
constexpr double kMiB = 1 << 20;
constexpr double kSecondsPerMonth = 365.25 * 86400 / 12;

}  // namespace

MonthlyCost monthly_cost(const PriceTable& prices, uint64_t bytes, const CloudLimits& limits,
                         double operations_per_second) {
  MonthlyCost cost;
  cost.capacity = static_cast<double>(bytes) / kGiB * prices.gib_month;
  const auto iops = static_cast<double>(limits.operations.per_second);
  cost.iops = std::max(0.0, iops - prices.free_iops) * prices.iops_month;
  const double mibs = static_cast<double>(limits.bytes.per_second) / kMiB;
  cost.bandwidth = std::max(0.0, mibs - prices.free_mibs) * prices.mibs_month;
  cost.operations = operations_per_second * kSecondsPerMonth / 1e6 * prices.million_operations;
  return cost;
}

}  // namespace latte
