#include "policy/drift_test.h"

#include <algorithm>
#include <cmath>

namespace latte {
namespace {

constexpr double kShift = 0.5;         // of the reference's standard deviation
constexpr double kLeastShift = 0.25;   // doublings; a steady stream has next to no deviation
constexpr double kSpread = 1.5 * 1.5;  // of variances
constexpr double kLeastVariance = 0.02;
constexpr uint32_t kWindowsRunning = 2;
constexpr double kTenPercent = 0.1;

bool moved(double before, double now) { return std::abs(now - before) > kTenPercent * before; }

}  // namespace

bool DriftTest::differs() const {
  const double shift = std::abs(window_.mean() - reference_.mean());
  const double deviation = std::sqrt(reference_.variance());
  if (shift > std::max(kLeastShift, kShift * deviation)) return true;
  const double before = std::max(kLeastVariance, reference_.variance());
  const double now = std::max(kLeastVariance, window_.variance());
  return now > kSpread * before || before > kSpread * now;
}

bool DriftTest::add(float latency_log2) {
  if (reference_.count() < kWindow) {
    reference_.add(latency_log2);
    return false;
  }
  window_.add(latency_log2);
  if (window_.count() < kWindow) return false;
  different_ = differs() ? different_ + 1 : 0;
  window_ = {};
  if (different_ < kWindowsRunning) return false;
  restart();
  return true;
}

bool TenPercentRule::add(TimeNs now_ns, float latency_us) {
  if (end_ns_ == 0) end_ns_ = now_ns + window_ns_;
  bool fires = false;
  if (now_ns >= end_ns_) {
    const double variance = window_.variance();
    if (last_count_ != 0)
      fires = moved(static_cast<double>(last_count_), static_cast<double>(window_.count())) ||
              moved(last_variance_, variance);
    last_count_ = window_.count();
    last_variance_ = variance;
    window_ = {};
    end_ns_ = now_ns + window_ns_;
  }
  window_.add(latency_us);
  return fires;
}

}  // namespace latte
