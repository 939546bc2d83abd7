// Engine replay: a trace through the real engine in virtual time.
#include "replay/engine_replay.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "replay/engine_report.h"

namespace latte::replay {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Result<RequestTrace> load(const std::string& text) {
  const std::string path =
      ::testing::TempDir() + "latte_engine_replay_" + std::to_string(::getpid()) + ".csv";
  std::ofstream(path) << text;
  auto loaded = load_request_trace(path, {}, [](double) {});
  ::unlink(path.c_str());
  return loaded;
}

/// Writes 8 MiB, reads it back, reads 8 MiB that were never written from their end to their
/// beginning, so that nothing is read ahead; a flush and a discard.
std::string mixed_trace() {
  std::string text;
  int at = 0;
  for (int i = 0; i < 512; ++i) text += fmt::format("{},W,{},16384\n", at += 200, i * 16384);
  text += fmt::format("{},F,0,0\n", at += 200);
  for (int i = 0; i < 512; ++i) text += fmt::format("{},R,{},16384\n", at += 200, i * 16384);
  for (int i = 1023; i >= 512; --i) text += fmt::format("{},R,{},16384\n", at += 200, i * 16384);
  return text + fmt::format("{},D,0,16384\n{},R,1000,100\n", at + 200, at + 400);
}

EngineReplayOptions options_for(uint64_t pool_bytes, uint64_t seed) {
  EngineReplayOptions options;
  options.pool_bytes = pool_bytes;
  options.seed = seed;
  return options;
}

TEST(EngineReplay, CountsHitsAndMissesAndTakesTheModelsTimes) {
  const auto trace = load(mixed_trace());
  ASSERT_TRUE(trace.ok());
  EXPECT_EQ(trace.value().footprint_bytes, 16u << 20);
  auto run = replay_engine(trace.value(), options_for(64u << 20, 1), [](double) {});
  ASSERT_TRUE(run.ok()) << run.error().message;
  EXPECT_EQ(run.value().requests, trace.value().records.size());
  EXPECT_EQ(run.value().failed, 0u);
  const DiskStats& disk = run.value().stats.disks.front();
  EXPECT_EQ(disk.read_hit_blocks, 2048u);
  EXPECT_EQ(disk.read_miss_blocks, 2048u);
  EXPECT_EQ(run.value().stats.pool.written.user, 8u << 20);
  // Half of the reads come from the drive, half from the cloud.
  const auto between = static_cast<uint64_t>(EngineReplayOptions().cloud.read_ns / 2);
  EXPECT_LT(disk.read_latency.quantile_ns(0.25), between);
  EXPECT_GE(disk.read_latency.quantile_ns(0.75), between);
  uint64_t timed = 0;
  for (const TimeSlice& slice : run.value().slices) timed += slice.latency.count();
  EXPECT_EQ(timed, run.value().requests);
}

TEST(EngineReplay, TellsWhatTheCloudVolumeNeedsAndCosts) {
  // For ten seconds the same 1 MiB is written again and again, 1,000 blocks a second.
  std::string text;
  for (int i = 0; i < 10'000; ++i) text += fmt::format("{},W,{},4096\n", i * 1000, i % 256 * 4096);
  const auto trace = load(text);
  auto run = replay_engine(trace.value(), options_for(64u << 20, 1), [](double) {});
  ASSERT_TRUE(run.ok()) << run.error().message;
  ASSERT_GE(run.value().cloud_demand.size(), 9u);
  EngineResult result{
      "again", 1, {run.take()}, trace.value().size_bytes, direct_demand(trace.value(), 1), {}};
  EXPECT_EQ(result.direct_demand.size(), 10u);
  EXPECT_EQ(result.direct_demand[3].operations, 1000u);
  EXPECT_EQ(result.direct_demand[3].bytes, 4096'000u);
  EXPECT_THAT(to_table(result), Not(HasSubstr("a month")));
  result.prices.currency = "USD";
  result.prices.gib_month = 0.1;
  result.prices.iops_month = 0.005;
  const auto json = nlohmann::json::parse(to_json({result}, 1))["traces"][0];
  const auto& without = json["cloud_needs_without_latte"];
  EXPECT_NEAR(without["iops"].get<double>(), 1200, 12);
  EXPECT_NEAR(without["cost_month"]["total"].get<double>(), 1200 * 0.005, 0.1);
  const auto& with = json["runs"][0]["cloud_needs"];
  EXPECT_LT(with["iops"].get<uint64_t>(), 150u);
  EXPECT_LT(with["cost_month"]["total"].get<double>(), 0.8);
  EXPECT_THAT(to_table(result), HasSubstr("USD a month"));
}

TEST(EngineReplay, OneTierAloneTakesItsModelsTime) {
  const auto trace = load(mixed_trace());
  ASSERT_TRUE(trace.ok());
  const EngineReplayOptions options = options_for(64u << 20, 1);
  auto drive = replay_alone(trace.value(), options, Tier::local, [](double) {});
  auto cloud = replay_alone(trace.value(), options, Tier::cloud, [](double) {});
  ASSERT_TRUE(drive.ok() && cloud.ok());
  for (const AloneRun* run : {&drive.value(), &cloud.value()}) {
    EXPECT_EQ(run->requests, trace.value().records.size());
    EXPECT_EQ(run->failed, 0u);
    EXPECT_EQ(run->read_latency.count(), 1025u);
    EXPECT_EQ(run->write_latency.count(), 512u);
  }
  const auto between = static_cast<uint64_t>(options.cloud.read_ns / 2);
  EXPECT_LT(drive.value().read_latency.quantile_ns(0.75), between);
  EXPECT_GE(cloud.value().read_latency.quantile_ns(0.25), between);
  EngineResult result{"t", 1, {}, trace.value().size_bytes, {}, {}, {}};
  result.alone.push_back(cloud.take());
  EXPECT_THAT(to_table(result), HasSubstr("cloud alone"));
  EXPECT_EQ(nlohmann::json::parse(to_json({result}, 1))["traces"][0]["alone"][0]["tier"], "cloud");
}

TEST(EngineReplay, ASeedRepeatsARunToTheLastEvent) {
  const auto trace = load(mixed_trace());
  const auto hash = [&](uint64_t seed) {
    return replay_engine(trace.value(), options_for(64u << 20, seed), [](double) {}).value().hash;
  };
  EXPECT_EQ(hash(1), hash(1));
  EXPECT_NE(hash(1), hash(2));
}

TEST(EngineReplay, SpeedShortensTheTime) {
  const auto trace = load(mixed_trace());
  EngineReplayOptions options = options_for(64u << 20, 1);
  const TimeNs plain = replay_engine(trace.value(), options, [](double) {}).value().virtual_ns;
  options.speed = 2;
  const TimeNs fast = replay_engine(trace.value(), options, [](double) {}).value().virtual_ns;
  EXPECT_LT(fast, plain * 6 / 10);
}

TEST(EngineReplay, WhatCannotBeReplayedIsAnError) {
  EXPECT_THAT(load("0,F,0,0\n").error().message, HasSubstr("nothing to replay"));
  EXPECT_THAT(load("0,R,0,67108864\n").error().message, HasSubstr("longer than 32 MiB"));
  EXPECT_THAT(load("0,R,70368744177664,512\n").error().message, HasSubstr("64 TiB"));
  const auto trace = load(mixed_trace());
  const auto run = replay_engine(trace.value(), options_for(64u << 10, 1), [](double) {});
  ASSERT_FALSE(run.ok());
  EXPECT_THAT(run.error().message, HasSubstr("replay"));
}

TEST(EngineReport, TableJsonAndPage) {
  const auto trace = load(mixed_trace());
  EngineResult result{"t", 1, {}};
  result.runs.push_back(
      replay_engine(trace.value(), options_for(64u << 20, 1), [](double) {}).take());
  EXPECT_THAT(to_table(result), HasSubstr("0.5000"));
  const auto json = nlohmann::json::parse(to_json({result}, 1));
  EXPECT_EQ(json["traces"][0]["runs"][0]["read_hit_ratio"], 0.5);
  const std::string page = to_html({result}, 1);
  EXPECT_THAT(page, HasSubstr("</html>"));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, Not(HasSubstr("inf")));
}

}  // namespace
}  // namespace latte::replay
