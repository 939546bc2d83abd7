// What the configuration says about an advisor: how often, within which bounds, and who buys.
//
// Thread rule: none; a plain value.
#pragma once

#include <string>
#include <vector>

#include "base/units.h"
#include "policy/iops_advisor.h"

namespace latte {

/// [disk.advisor]
struct AdvisorConfig {
  TimeNs period_ns = 3600 * kSecond;
  AdvisorLimits limits;
  std::vector<std::string>
      hook;  ///< program and its arguments; disk and operations a second follow
  TimeNs hook_limit_ns = 30 * kSecond;
};

}  // namespace latte
