#include "policy/write_budget.h"

#include <algorithm>

namespace latte::policy {

bool WriteBudget::take(uint64_t bytes, TimeNs now_ns) {
  if (daily_bytes_ == 0) return true;
  constexpr double kDayNs = 24.0 * 3600 * static_cast<double>(kSecond);
  const double bucket = static_cast<double>(daily_bytes_ / kBucketShare);
  const double per_ns = (static_cast<double>(daily_bytes_) - bucket) / kDayNs;
  if (filled_ns_ < 0) filled_ns_ = now_ns;
  level_bytes_ += per_ns * static_cast<double>(std::max<TimeNs>(0, now_ns - filled_ns_));
  level_bytes_ = std::min(level_bytes_, bucket);
  filled_ns_ = now_ns;
  if (level_bytes_ < static_cast<double>(bytes)) return false;
  level_bytes_ -= static_cast<double>(bytes);
  return true;
}

}  // namespace latte::policy
