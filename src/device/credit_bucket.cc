#include "device/credit_bucket.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace latte {
namespace {

constexpr auto kSecondNs = static_cast<double>(kSecond);
constexpr auto kSlackNs = static_cast<double>(kLimitSlackNs);
/// Longer than anything waits; a day.
constexpr double kLongestNs = 86400 * kSecondNs;

double span_ns(double units, uint64_t per_second) {
  return units * kSecondNs / static_cast<double>(per_second);
}

}  // namespace

CreditBucket::CreditBucket(RateLimit limit, TimeNs now_ns) : limit_(limit) {
  burst_free_at_ns_ = static_cast<double>(now_ns) - kSlackNs;
  free_at_ns_ = limit.per_second == 0 ? 0 : static_cast<double>(now_ns) - saved_ns();
}

double CreditBucket::saved_ns() const {
  LATTE_CHECK(limit_.per_second != 0);
  if (!bursts()) return kSlackNs;
  return std::max(kSlackNs, span_ns(static_cast<double>(limit_.burst_credits), limit_.per_second));
}

TimeNs CreditBucket::free_at() const {
  if (limit_.per_second == 0) return INT64_MIN;
  const double at_ns = bursts() ? std::max(free_at_ns_, burst_free_at_ns_) : free_at_ns_;
  return static_cast<TimeNs>(std::ceil(at_ns));
}

void CreditBucket::charge(uint64_t units, TimeNs now_ns) {
  if (limit_.per_second == 0) return;
  const auto now = static_cast<double>(now_ns);
  const auto cost = static_cast<double>(units);
  free_at_ns_ = std::max(free_at_ns_, now - saved_ns()) + span_ns(cost, limit_.per_second);
  if (bursts())
    burst_free_at_ns_ =
        std::max(burst_free_at_ns_, now - kSlackNs) + span_ns(cost, limit_.burst_per_second);
}

double CreditBucket::credits(TimeNs now_ns) const {
  if (limit_.per_second == 0) return 0;
  const double idle_ns = std::min(static_cast<double>(now_ns) - free_at_ns_, saved_ns());
  return idle_ns * static_cast<double>(limit_.per_second) / kSecondNs;
}

TimeNs CreditBucket::time_for(uint64_t units, TimeNs now_ns) const {
  if (limit_.per_second == 0) return 0;
  const double saved = credits(now_ns);
  const auto wanted = static_cast<double>(units);
  double ns = 0;
  if (saved <= 0 || !bursts()) {
    // What is owed comes first; the slack is too little to count on.
    ns = span_ns(wanted - std::min(saved, 0.0), limit_.per_second);
  } else {
    // Credits melt at the difference of the rates.
    const auto burst = static_cast<double>(limit_.burst_per_second);
    const auto rate = static_cast<double>(limit_.per_second);
    const double at_burst = std::min(wanted, saved / (burst - rate) * burst);
    ns = span_ns(at_burst, limit_.burst_per_second) + span_ns(wanted - at_burst, limit_.per_second);
  }
  return static_cast<TimeNs>(std::min(ns, kLongestNs));
}

void CreditBucket::set_rate(uint64_t per_second, TimeNs now_ns) {
  if (per_second == limit_.per_second) return;
  const double had = credits(now_ns);
  const bool limited = limit_.per_second != 0;
  limit_.per_second = per_second;
  if (per_second == 0) return;
  const double saved = limited ? span_ns(had, per_second) : saved_ns();
  free_at_ns_ = static_cast<double>(now_ns) - std::min(saved, saved_ns());
}

}  // namespace latte
