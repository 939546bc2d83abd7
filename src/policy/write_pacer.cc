#include "policy/write_pacer.h"

#include <algorithm>
#include <limits>

namespace latte {
namespace {

constexpr double kFree = 0.12;    // of the limit: not slowed
constexpr double kTarget = 0.35;  // where the backlog settles
constexpr double kGain = 1.5;
constexpr double kPoolFree = 0.75;  // of the pool's room: not slowed
constexpr double kPoolTarget = 0.85;
constexpr double kPoolGain = 6;
constexpr double kSlowest =
    0.02;  // of the drain rate, however late: writers crawl, they don't stop
constexpr double kUnmeasured = 8e6;       // bytes/s assumed until something has been drained
constexpr double kUnmeasuredApply = 1e6;  // likewise, applied: many small writes to a slow base
constexpr double kMemorySeconds = 0.5;
constexpr double kAlonePart = 0.25;  // of what a faster batch counts that nothing waited behind
constexpr double kUnlimited = std::numeric_limits<double>::infinity();

double paced(double rate, double x, double free, double target, double gain) {
  if (x < free) return kUnlimited;
  return rate * std::clamp(1 + gain * (target - x), kSlowest, 4.0);
}

/// A moving average over the busy time; the first sample, `first`, stands for itself.
void average(double& value, double sample, TimeNs busy_ns, bool first) {
  const double seconds = static_cast<double>(busy_ns) / 1e9;
  value += (first ? 1 : seconds / (seconds + kMemorySeconds)) * (sample - value);
}

double per_second(uint64_t bytes, TimeNs busy_ns) {
  return static_cast<double>(bytes) * 1e9 / static_cast<double>(busy_ns);
}

void measure(double& rate, uint64_t bytes, TimeNs busy_ns) {
  if (bytes == 0 || busy_ns <= 0) return;
  average(rate, per_second(bytes, busy_ns), busy_ns, rate == 0);
}

}  // namespace

void WritePacer::on_drained(uint64_t bytes, TimeNs busy_ns, bool alone) {
  if (!alone) return measure(drain_rate_, bytes, busy_ns);
  if (drain_rate_ == 0 || busy_ns <= 0) return;
  // Else whoever writes one at a time, slowed by what was measured in an outage, would stay slow.
  drain_rate_ += std::max(0.0, per_second(bytes, busy_ns) - drain_rate_) * kAlonePart;
}

void WritePacer::on_applied(uint64_t bytes, uint64_t segment_bytes, TimeNs busy_ns) {
  if (bytes > 0 && busy_ns > 0)
    average(log_fill_, static_cast<double>(bytes) / static_cast<double>(segment_bytes), busy_ns,
            apply_rate_ == 0);
  measure(apply_rate_, bytes, busy_ns);
}

/// How long what is dirty now will take to reach the cloud's log.
double WritePacer::seconds_to_drain(const State& state) const {
  const double ship_rate = drain_rate_ > 0 ? drain_rate_ : kUnmeasured;
  const double apply_rate = std::min(apply_rate_ > 0 ? apply_rate_ : kUnmeasuredApply, ship_rate);
  const auto dirty = static_cast<double>(state.dirty_bytes);
  const double fits = std::min(dirty, static_cast<double>(state.log_free_bytes) * log_fill_);
  const double measured_s = fits / ship_rate + (dirty - fits) / apply_rate;
  return std::max(measured_s, static_cast<double>(state.limited_drain_ns) / 1e9);
}

double WritePacer::allowed_rate(const State& state) const {
  const double expected_s = seconds_to_drain(state);
  const double rate = expected_s > 0    ? static_cast<double>(state.dirty_bytes) / expected_s
                      : drain_rate_ > 0 ? drain_rate_
                                        : kUnmeasured;
  double allowed = kUnlimited;
  if (max_lag_ns_ != INT64_MAX && !state.drain_away) {
    const double limit_s = static_cast<double>(max_lag_ns_) / 1e9;
    const double age_s = static_cast<double>(state.oldest_age_ns) / 1e9;
    // The age itself counts once it is well above what batching alone explains.
    const double x = std::max(expected_s / limit_s, age_s / limit_s - 0.5);
    allowed = std::min(allowed, paced(rate, x, kFree, kTarget, kGain));
  }
  if (state.room_bytes > 0) {
    const double x = static_cast<double>(state.dirty_bytes) / static_cast<double>(state.room_bytes);
    allowed = std::min(allowed, paced(rate, x, kPoolFree, kPoolTarget, kPoolGain));
  }
  return allowed;
}

TimeNs WritePacer::admit(TimeNs now_ns, uint64_t bytes, const State& state) {
  const double allowed = allowed_rate(state);
  if (allowed == kUnlimited) {
    next_start_ns_ = now_ns;
    return now_ns;
  }
  const TimeNs start_ns = std::max(now_ns, next_start_ns_);
  const double cost_ns = static_cast<double>(bytes) / allowed * 1e9;
  next_start_ns_ = start_ns + static_cast<TimeNs>(std::min(cost_ns, 1e9));
  return start_ns;
}

}  // namespace latte
