// What a cloud volume costs a month, by the configuration's price table.
//
// Thread rule: none; plain values.
#pragma once

#include <cstdint>
#include <string>

#include "device/cloud_limits.h"

namespace latte {

/// Money in `currency`; what is 0 costs nothing.
struct PriceTable {
  std::string currency;           ///< empty: there is no table
  double gib_month = 0;           ///< a GiB of base image and cloud log
  double iops_month = 0;          ///< an operation a second, provisioned
  double free_iops = 0;           ///< included in the price of the volume
  double mibs_month = 0;          ///< a MiB a second, provisioned
  double free_mibs = 0;           ///< likewise included
  double million_operations = 0;  ///< where operations are billed one by one

  bool any() const { return !currency.empty(); }
};

struct MonthlyCost {
  double capacity = 0;
  double iops = 0;
  double bandwidth = 0;
  double operations = 0;
  double total() const { return capacity + iops + bandwidth + operations; }
};

/// `bytes`: of base image and cloud log; `operations_per_second`: as they come in the mean.
MonthlyCost monthly_cost(const PriceTable& prices, uint64_t bytes, const CloudLimits& limits,
                         double operations_per_second);

}  // namespace latte
