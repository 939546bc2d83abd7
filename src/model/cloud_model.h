// CloudModel: a cloud volume as far as time is concerned: a round trip with a lognormal spread, a
// rare long tail, caps on IOPS and bandwidth (with burst credits where the class has them), and
// spells of congestion that nobody announces. Presets' sources: docs/internals/device-models.md.
//
// Invariants: those of DeviceModel. Congestion depends on time and seed alone, not on the requests.
#pragma once

#include <string>

#include "model/device_model.h"
#include "model/noise.h"

namespace latte::model {

struct CloudOptions {
  const char* name = "cloud";
  TimeNs read_ns = 600 * kMicrosecond;  ///< median round trip of a small read
  TimeNs write_ns = 600 * kMicrosecond;
  double sigma = 0.25;        ///< of the round trip's logarithm
  double stream_rate = 0;     ///< bytes a second of one request's transfer; 0 = not counted
  double tail_chance = 1e-3;  ///< of a request that takes tail_ns longer (exponential mean)
  TimeNs tail_ns = 2 * kMillisecond;
  // Caps. What waits, waits in turn; an idle cap saves up burst_ns of itself.
  double iops = 0;  ///< 0 = none
  double bytes_per_second = 0;
  TimeNs burst_ns = 1 * kMillisecond;
  /// Above base_iops requests use up credits, which come back at base_iops; 0 = no credits.
  double base_iops = 0;
  double credits = 0;  ///< when full, and at the start
  // Congestion: the round trip takes `congested_factor` times as long and the caps shrink by it.
  TimeNs clear_mean_ns = 0;  ///< mean of the time between spells; 0 = none
  TimeNs congested_mean_ns = 200 * kMillisecond;
  double congested_factor = 6;
};

/// Standard elastic volume, as the paper's EBS: 0.5-0.6 ms, 50 K IOPS, 350 MB/s.
CloudOptions cloud_ebs();
/// Premium volume, the paper's EBSX: 30 us, 1 M IOPS, 6 GB/s.
CloudOptions cloud_ebsx();
/// gp3-like: 0.7 ms, 3,000 IOPS, 125 MB/s.
CloudOptions cloud_gp3();
/// gp2-like: 300 IOPS with credits for bursts of 3,000.
CloudOptions cloud_gp2();
/// The cloud that the shared latency logs are compared with: 200 us, sigma .25, 350 MB/s a stream.
CloudOptions cloud_essd();

class CloudModel final : public DeviceModel {
 public:
  CloudModel(const CloudOptions& options, uint64_t seed);

  std::string_view name() const override { return name_; }
  TimeNs submit(const ModelIo& io) override;
  TimeNs peek(const ModelIo& io) override;

  const CloudOptions& options() const { return options_; }
  bool congested() const { return state_.congested; }
  double credits() const { return state_.credits; }

 private:
  struct State {
    TimeNs last_ns = 0;
    TimeNs iops_free_ns = 0;
    TimeNs bytes_free_ns = 0;
    uint64_t count = 0;
    TimeNs credits_at_ns = 0;
    double credits = 0;
    bool congested = false;
    TimeNs spell_end_ns = 0;
    uint64_t spells = 0;
  };
  TimeNs serve(const ModelIo& io);
  void follow_congestion(TimeNs now_ns);
  TimeNs take_credit(TimeNs now_ns);

  CloudOptions options_;
  std::string name_;
  Noise request_noise_;
  Noise spell_noise_;
  State state_;
};

}  // namespace latte::model
