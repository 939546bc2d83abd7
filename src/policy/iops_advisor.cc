#include "policy/iops_advisor.h"

#include <algorithm>

#include "base/check.h"

namespace latte {
namespace {

constexpr double kQuantile = 0.99;
constexpr double kHeadroom = 1.2;
constexpr double kRaise = 1.5;
constexpr double kLowerBelow = 0.9;
/// Of an observation: less may be two requests that met.
constexpr double kLimitedShare = 0.1;

}  // namespace

IopsAdvisor::IopsAdvisor(AdvisorLimits limits) : limits_(limits) {
  LATTE_CHECK(limits.min_iops > 0 && limits.min_iops <= limits.max_iops);
  LATTE_CHECK(limits.step_iops > 0);
}

void IopsAdvisor::observe(uint64_t operations, TimeNs limited_ns, TimeNs span_ns) {
  if (span_ns <= 0) return;
  const double seconds = static_cast<double>(span_ns) / static_cast<double>(kSecond);
  per_second_.record(static_cast<TimeNs>(static_cast<double>(operations) / seconds));
  if (static_cast<double>(limited_ns) > kLimitedShare * static_cast<double>(span_ns)) ++limited_;
}

uint64_t IopsAdvisor::busy_iops() const { return per_second_.quantile_ns(kQuantile); }

uint64_t IopsAdvisor::within_bounds(double iops) const {
  const double bounded = std::clamp(iops, static_cast<double>(limits_.min_iops),
                                    static_cast<double>(limits_.max_iops));
  const uint64_t stepped = round_up(static_cast<uint64_t>(bounded), limits_.step_iops);
  return std::min(stepped, limits_.max_iops);
}

uint64_t IopsAdvisor::advise(uint64_t current_iops) {
  const auto current = static_cast<double>(current_iops);
  double wanted = static_cast<double>(busy_iops()) * kHeadroom;
  const uint64_t seen = per_second_.count();
  if (seen == 0) wanted = current;
  if (static_cast<double>(limited_) > (1 - kQuantile) * static_cast<double>(seen))
    wanted = std::max(wanted, current * kRaise);
  if (wanted < current && wanted > current * kLowerBelow) wanted = current;
  per_second_ = Histogram();
  limited_ = 0;
  return within_bounds(wanted);
}

}  // namespace latte
