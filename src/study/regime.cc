#include "study/regime.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

namespace latte::study {
namespace {

constexpr uint64_t kSpanBytes = uint64_t{1} << 40;
constexpr double kSequentialShare = 0.3;
/// A tenant in a pause looks again so often.
constexpr TimeNs kIdleStepNs = 200 * kMicrosecond;

TimeNs exponential(Random& random, double mean_ns) {
  return static_cast<TimeNs>(-std::log(1 - random.uniform()) * mean_ns) + 1;
}

/// 4 KiB to 128 KiB, 18 KiB on average.
uint32_t draw_size(Random& random) {
  const uint64_t part = random.below(100);
  if (part < 60) return 4u << 10;
  if (part < 85) return 16u << 10;
  if (part < 97) return 64u << 10;
  return 128u << 10;
}

/// The paper's back end, a standard volume, with IOPS and bandwidth provisioned to carry the load.
model::CloudOptions provisioned_cloud() {
  model::CloudOptions cloud = model::cloud_ebs();
  cloud.name = "provisioned";
  cloud.iops = 400'000;
  cloud.bytes_per_second = 5e9;
  return cloud;
}

}  // namespace

std::vector<Regime> dispatch_regimes() {
  Regime common;
  common.local = model::nvme_gen4();
  common.cloud = provisioned_cloud();
  std::vector<Regime> all;

  Regime steady = common;
  steady.name = "steady";
  steady.iops = 120'000;
  all.push_back(steady);

  Regime bursty = common;
  bursty.name = "bursty";
  bursty.iops = 30'000;
  bursty.burst_iops = 250'000;
  bursty.burst_ns = 150 * kMillisecond;
  bursty.calm_ns = 250 * kMillisecond;
  all.push_back(bursty);

  Regime collection = common;
  collection.name = "GC onset";
  collection.iops = 160'000;
  collection.local.free_bytes_at_start = 600u << 20;
  all.push_back(collection);

  Regime congestion = common;
  congestion.name = "cloud congestion";
  congestion.foreign_depth = 32;
  congestion.cloud.congested_factor = 10;
  congestion.cloud.clear_mean_ns = 150 * kMillisecond;
  congestion.cloud.congested_mean_ns = 100 * kMillisecond;
  all.push_back(congestion);

  Regime tenant = common;
  tenant.name = "tenant";
  tenant.foreign_depth = 64;
  tenant.burst_ns = 100 * kMillisecond;
  tenant.calm_ns = 150 * kMillisecond;
  all.push_back(tenant);

  Regime day = common;
  day.name = "day/night";
  day.iops = 110'000;
  day.swing = 0.9;
  day.swing_ns = 600 * kMillisecond;
  all.push_back(day);
  return all;
}

Spells::Spells(const Regime& regime, uint64_t seed)
    : burst_ns_(regime.burst_ns), calm_ns_(regime.calm_ns), random_(seed) {
  if (burst_ns_ != 0) return;
  on_ = regime.foreign_depth != 0;
  end_ns_ = INT64_MAX;
}

bool Spells::on(TimeNs now_ns) {
  while (now_ns >= end_ns_) {
    on_ = !on_;
    end_ns_ += exponential(random_, static_cast<double>(on_ ? burst_ns_ : calm_ns_));
  }
  return on_;
}

Arrivals::Arrivals(const Regime& regime, uint64_t seed)
    : regime_(regime), random_(seed * 4 + 1), spells_(regime, seed * 4 + 2) {}

model::ModelIo Arrivals::next(TimeNs now_ns) {
  double iops = regime_.iops;
  if (regime_.swing_ns != 0) {
    const double turns = static_cast<double>(now_ns) / static_cast<double>(regime_.swing_ns);
    iops *= 1 - regime_.swing * std::cos(2 * std::numbers::pi * turns);
  }
  if (regime_.burst_iops > 0 && spells_.on(now_ns)) iops = regime_.burst_iops;
  model::ModelIo io;
  io.time_ns = now_ns + exponential(random_, 1e9 / iops);
  io.op = random_.uniform() < regime_.read_share ? model::ModelOp::read : model::ModelOp::write;
  io.length_bytes = draw_size(random_);
  io.offset = random_.uniform() < kSequentialShare
                  ? next_offset_
                  : random_.below(kSpanBytes / kBlockBytes) * kBlockBytes;
  next_offset_ = (io.offset + io.length_bytes) % kSpanBytes;
  return io;
}

Foreigner::Foreigner(const Regime& regime, uint64_t seed)
    : random_(seed * 4 + 3), spells_(regime, seed * 4 + 4), ends_(regime.foreign_depth, 0) {}

void Foreigner::run_until(TimeNs now_ns, model::DeviceModel& drive) {
  while (!ends_.empty() && ends_.front() <= now_ns) {
    std::pop_heap(ends_.begin(), ends_.end(), std::greater<>());
    last_ns_ = std::max(last_ns_, ends_.back());
    if (spells_.on(last_ns_)) {
      const uint64_t offset = kSpanBytes + random_.below(kSpanBytes / kBytes) * kBytes;
      ends_.back() = drive.submit({last_ns_, model::ModelOp::write, offset, kBytes});
    } else {
      ends_.back() = last_ns_ + kIdleStepNs;
    }
    std::push_heap(ends_.begin(), ends_.end(), std::greater<>());
  }
}

}  // namespace latte::study
