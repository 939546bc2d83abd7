// Studies: scores are what they say, logs are read or refused, runs repeat, and
// the dispatcher predicts where there is something to predict.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>

#include "model/depth_driver.h"
#include "model/nvme_model.h"
#include "study/device_probe.h"
#include "study/dispatch_run.h"
#include "study/hybrid_model.h"
#include "study/latency_log.h"
#include "study/prediction_report.h"

namespace latte::study {
namespace {

using ::testing::HasSubstr;

TEST(DecisionScore, CountsBothWaysOfBeingWrong) {
  DecisionScore score;
  const Truth local_faster{100, 200};
  const Truth cloud_faster{200, 100};
  const Truth close{100, 120};
  for (int i = 0; i < 60; ++i) score.add(local_faster, Tier::local);
  for (int i = 0; i < 10; ++i) score.add(local_faster, Tier::cloud);
  for (int i = 0; i < 15; ++i) score.add(cloud_faster, Tier::cloud);
  for (int i = 0; i < 5; ++i) score.add(cloud_faster, Tier::local);
  for (int i = 0; i < 10; ++i) score.add(close, Tier::cloud);
  EXPECT_EQ(score.count(), 100u);
  EXPECT_DOUBLE_EQ(score.accuracy(), 0.75);
  EXPECT_DOUBLE_EQ(score.majority(), 0.80);
  EXPECT_DOUBLE_EQ(score.balanced_accuracy(), (60.0 / 80 + 15.0 / 20) / 2);
  EXPECT_DOUBLE_EQ(score.clear_accuracy(), 75.0 / 90);
  EXPECT_DOUBLE_EQ(score.clear_share(), 0.9);
  EXPECT_DOUBLE_EQ(score.false_local(), 0.05);
  EXPECT_DOUBLE_EQ(score.false_cloud(), 0.20);
  EXPECT_NEAR(score.correlation(), (15.0 * 60 - 20 * 5) / std::sqrt(35.0 * 20 * 80 * 65), 1e-12);
}

TEST(LatencySum, QuantilesAndGain) {
  LatencySum sum;
  for (TimeNs i = 1; i <= 1000; ++i) sum.add(i * kMicrosecond);
  EXPECT_DOUBLE_EQ(sum.mean_us(), 500.5);
  EXPECT_DOUBLE_EQ(sum.quantile_us(0.999), 1000);
  EXPECT_DOUBLE_EQ(gain_captured(200, 120, 100), 0.8);
  EXPECT_DOUBLE_EQ(gain_captured(100, 120, 100), 0);
}

class LatencyLog : public ::testing::Test {
 protected:
  void write(const std::string& text) { std::ofstream(path_) << text; }
  void TearDown() override { std::remove(path_.c_str()); }
  std::string path_ = ::testing::TempDir() + "latency_log_test.csv";
};

TEST_F(LatencyLog, IsReadInItsUnits) {
  write(
      "t_us,lat_us,rw,size,off\n49.5,124.25,W,65536,0\n0.0,134,R,4096,"
      "42242048\n");
  const auto log = read_latency_log(path_);
  ASSERT_TRUE(log);
  ASSERT_EQ(log.value().size(), 2u);
  EXPECT_EQ(log.value()[1].time_ns, 49'500);
  EXPECT_EQ(log.value()[1].latency_ns, 124'250);
  EXPECT_EQ(log.value()[1].kind, IoKind::write);
  EXPECT_EQ(log.value()[1].bytes, 65536u);
}

TEST_F(LatencyLog, BadLinesAreNamed) {
  const char* bad[] = {"x,1,R,4096,0", "1,nan,R,4096,0", "1,-1,R,4096,0",
                       "1,1,X,4096,0", "1,1,R,0,0",      "1,1,R,99999999999,0",
                       "1,1,R,4096",   "1,1,R,4096,0,7", "1e300,1,R,4096,0",
                       ",,,,",         "\x01\x02"};
  for (const char* line : bad) {
    write(std::string("t_us,lat_us,rw,size,off\n1,10,R,4096,0\n") + line + "\n");
    const auto log = read_latency_log(path_);
    ASSERT_FALSE(log) << line;
    EXPECT_EQ(log.error().code, Errc::invalid);
    EXPECT_THAT(log.error().message, HasSubstr("line 3"));
  }
  EXPECT_EQ(read_latency_log(path_ + ".none").error().code, Errc::not_found);
}

Regime regime_named(std::string_view name, uint32_t requests) {
  for (Regime regime : dispatch_regimes()) {
    regime.requests = requests;
    if (name == regime.name) return regime;
  }
  ADD_FAILURE() << name;
  return {};
}

TEST(DispatchRun, ASeedRepeats) {
  const Regime regime = regime_named("tenant", 5'000);
  Decider decider;
  decider.kind = Decider::Kind::dispatcher;
  for (const StudyMode mode : {StudyMode::predict, StudyMode::dispatch}) {
    const DispatchRun first = run_dispatch(mode, regime, 4, decider);
    const DispatchRun again = run_dispatch(mode, regime, 4, decider);
    const DispatchRun other = run_dispatch(mode, regime, 5, decider);
    EXPECT_EQ(first.end_ns, again.end_ns);
    EXPECT_EQ(first.all.mean_us(), again.all.mean_us());
    EXPECT_NE(first.end_ns, other.end_ns);
  }
}

TEST(DispatchRun, TheOracleIsRightAndNobodyIsFaster) {
  const Regime regime = regime_named("tenant", 20'000);
  Decider decider;
  decider.kind = Decider::Kind::oracle;
  const DispatchRun oracle = run_dispatch(StudyMode::dispatch, regime, 4, decider);
  EXPECT_EQ(oracle.decided[1].accuracy(), 1);
  decider.kind = Decider::Kind::rule;
  for (size_t rule : {0u, 1u}) {
    decider.rule = kDispatchRules[rule];
    EXPECT_GT(run_dispatch(StudyMode::dispatch, regime, 4, decider).all.mean_us(),
              oracle.all.mean_us());
  }
}

TEST(Prediction, TrainedOnSomeSeedsItIsRightOnOthers) {
  PredictionPlan plan;
  plan.train_seeds = 2;
  plan.requests = 20'000;
  const SvmTraining training = train_for(StudyMode::predict, plan);
  Decider decider;
  decider.kind = Decider::Kind::dispatcher;
  decider.model = &training.model;
  const DispatchRun run =
      run_dispatch(StudyMode::predict, regime_named("tenant", 40'000), 1001, decider);
  const DecisionScore& writes = run.model[1];
  EXPECT_GT(writes.accuracy(), 0.95);
  EXPECT_GT(writes.balanced_accuracy(), 0.95);
  EXPECT_LT(run.all.mean_us(), run.rule_latencies[0].mean_us());
  EXPECT_LT(run.all.mean_us(), run.rule_latencies[1].mean_us());
}

TEST(DeviceFit, FindsADriveItKnows) {
  model::NvmeOptions options = model::nvme_gen3();
  options.free_bytes_at_start = uint64_t{1} << 40;
  std::vector<ProbePoint> measured;
  for (const uint32_t depth : {1u, 4u, 16u, 64u, 128u, 16u}) {
    model::NvmeModel drive(options, 9);
    model::DepthLoad load;
    load.depth = depth;
    load.sequential = measured.size() == 5;
    load.length_bytes = load.sequential ? 128u << 10 : 4096;
    load.requests = 20'000;
    const model::DepthResult result = drive_at_depth(drive, load);
    ProbePoint point;
    point.depth = depth;
    point.sequential = load.sequential;
    point.length_bytes = load.length_bytes;
    point.iops = result.iops;
    point.mean_us = static_cast<double>(result.reads.sum_ns()) /
                    static_cast<double>(result.reads.count()) / 1e3;
    measured.push_back(point);
  }
  const DeviceFit fit = fit_device(measured, 1);
  EXPECT_LT(fit.mean_error, 0.05);
  EXPECT_LT(fit.worst_error, 0.12);
}

TEST(DeviceProbe, RefusesWhatItCantMeasure) {
  ProbeOptions options;
  options.path = ::testing::TempDir() + "no_such_file";
  EXPECT_EQ(probe_device(options).error().code, Errc::not_found);
  options.path = ::testing::TempDir() + "small_file";
  std::ofstream(options.path) << std::string(8192, 'x');
  EXPECT_EQ(probe_device(options).error().code, Errc::invalid);
  std::remove(options.path.c_str());
}

TEST(HybridModel, AllHitsUseBothTiers) {
  model::NvmeOptions fresh = model::nvme_gen4();
  fresh.free_bytes_at_start = uint64_t{1} << 40;
  model::NvmeModel local(fresh, 1);
  model::CloudOptions volume = model::cloud_ebs();
  volume.bytes_per_second = 2.4e9;
  model::CloudModel cloud(volume, 2);
  HybridModel hybrid(local, cloud, 1, 3);
  model::DepthLoad load;
  load.depth = 256;
  load.length_bytes = 128u << 10;
  load.requests = 30'000;
  load.warm_up = 10'000;
  EXPECT_GT(drive_at_depth(hybrid, load).bytes_per_second, 0.95 * (6.9e9 + 2.4e9));
}

}  // namespace
}  // namespace latte::study
