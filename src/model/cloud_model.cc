#include "model/cloud_model.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "model/server.h"

namespace latte::model {
namespace {

/// Keeps the seeds of the two streams apart.
constexpr uint64_t kSpellStream = 0x5be11;
/// No single spell, congested or clear, is longer than this many means.
constexpr double kLongestSpell = 8;

TimeNs exponential(double uniform, TimeNs mean_ns) {
  const double means = std::min(kLongestSpell, -std::log(1 - uniform));
  return static_cast<TimeNs>(means * static_cast<double>(mean_ns)) + 1;
}

}  // namespace

CloudOptions cloud_ebs() {
  CloudOptions options;
  options.name = "ebs";
  options.read_ns = 400 * kMicrosecond;
  options.write_ns = 550 * kMicrosecond;
  options.iops = 50'000;
  options.bytes_per_second = 350e6;
  return options;
}

CloudOptions cloud_ebsx() {
  CloudOptions options;
  options.name = "ebsx";
  options.read_ns = 30 * kMicrosecond;
  options.write_ns = 30 * kMicrosecond;
  options.sigma = 0.15;
  options.iops = 1'000'000;
  options.bytes_per_second = 6e9;
  options.tail_ns = 300 * kMicrosecond;
  return options;
}

CloudOptions cloud_gp3() {
  CloudOptions options;
  options.name = "gp3";
  options.read_ns = 700 * kMicrosecond;
  options.write_ns = 800 * kMicrosecond;
  options.iops = 3'000;
  options.bytes_per_second = 125e6;
  return options;
}

CloudOptions cloud_gp2() {
  CloudOptions options = cloud_gp3();
  options.name = "gp2";
  options.base_iops = 300;
  options.credits = 5.4e6;
  return options;
}

CloudOptions cloud_essd() {
  CloudOptions options;
  options.name = "essd";
  options.read_ns = 200 * kMicrosecond;
  options.write_ns = 200 * kMicrosecond;
  options.stream_rate = 350e6;
  options.tail_chance = 0;
  return options;
}

CloudModel::CloudModel(const CloudOptions& options, uint64_t seed)
    : options_(options),
      name_(options.name),
      request_noise_(seed),
      spell_noise_(seed ^ kSpellStream) {
  LATTE_CHECK(options.sigma >= 0 && options.congested_factor >= 1);
  LATTE_CHECK(options.base_iops <= options.iops || options.iops == 0);
  state_.credits = options.credits;
  state_.congested = true;  // the first spell begins clear
}

TimeNs CloudModel::submit(const ModelIo& io) {
  LATTE_CHECK(io.time_ns >= state_.last_ns);
  return serve(io);
}

TimeNs CloudModel::peek(const ModelIo& io) {
  const State before = state_;
  const TimeNs end_ns = serve(io);
  state_ = before;
  return end_ns;
}

void CloudModel::follow_congestion(TimeNs now_ns) {
  if (options_.clear_mean_ns == 0) {
    state_.congested = false;
    return;
  }
  while (now_ns >= state_.spell_end_ns) {
    state_.congested = !state_.congested;
    const TimeNs mean_ns = state_.congested ? options_.congested_mean_ns : options_.clear_mean_ns;
    state_.spell_end_ns += exponential(spell_noise_.uniform(++state_.spells), mean_ns);
  }
}

/// One credit; returns when there is one.
TimeNs CloudModel::take_credit(TimeNs now_ns) {
  if (options_.base_iops <= 0) return now_ns;
  const double per_ns = options_.base_iops / 1e9;
  const auto elapsed_ns = static_cast<double>(now_ns - state_.credits_at_ns);
  state_.credits = std::min(options_.credits, state_.credits + elapsed_ns * per_ns) - 1;
  state_.credits_at_ns = now_ns;
  if (state_.credits >= 0) return now_ns;
  return now_ns + static_cast<TimeNs>(-state_.credits / per_ns);
}

TimeNs CloudModel::serve(const ModelIo& io) {
  LATTE_CHECK(io.length_bytes <= kMaxLengthBytes);
  const TimeNs now_ns = io.time_ns;
  state_.last_ns = now_ns;
  follow_congestion(now_ns);
  const double slow = state_.congested ? options_.congested_factor : 1;
  const TimeNs earliest_ns = now_ns - options_.burst_ns;
  TimeNs start_ns = take_credit(now_ns);
  if (options_.iops > 0) {
    const auto cost_ns = static_cast<TimeNs>(slow * 1e9 / options_.iops);
    start_ns = std::max(start_ns, through(state_.iops_free_ns, earliest_ns, cost_ns));
  }
  if (options_.bytes_per_second > 0) {
    const TimeNs cost_ns = transfer_ns(io.length_bytes, options_.bytes_per_second / slow);
    start_ns = std::max(start_ns, through(state_.bytes_free_ns, earliest_ns, cost_ns));
  }
  const uint64_t draw = 3 * ++state_.count;
  const TimeNs median_ns = io.op == ModelOp::read ? options_.read_ns : options_.write_ns;
  double trip_ns = static_cast<double>(median_ns) * slow *
                   std::exp(options_.sigma * request_noise_.normal(draw));
  if (request_noise_.uniform(draw + 1) < options_.tail_chance)
    trip_ns += static_cast<double>(exponential(request_noise_.uniform(draw + 2), options_.tail_ns));
  if (options_.stream_rate > 0) trip_ns += io.length_bytes / options_.stream_rate * 1e9;
  return start_ns + static_cast<TimeNs>(trip_ns);
}

}  // namespace latte::model
