// CloudMeter and CreditBucket in virtual time: rates, credits, how operations are counted, and who
// goes first.
#include "device/cloud_meter.h"

#include <algorithm>
#include <vector>

#include "device/memory_device.h"
#include "device/metered_device.h"
#include "disk_test_support.h"

namespace latte {
namespace {

constexpr uint64_t kMiB = 1u << 20;

struct Pressing final : CloudUrgency {
  bool ship = false;
  bool urgent(CloudClass io_class) const override { return ship && io_class == CloudClass::ship; }
};

/// A device in memory behind a meter, and clients that ask it again and again.
class MeterTest : public testing::Test {
 protected:
  void limit(CloudLimits limits) {
    meter_ = CloudMeter::create(reactor_, limits, pressing_);
    base_ = std::make_unique<MeteredDevice>(reactor_, memory_, meter_, CloudClass::background);
    log_ = std::make_unique<MeteredDevice>(reactor_, memory_, meter_, CloudClass::ship);
  }
  void limit_iops(uint64_t per_second) {
    CloudLimits limits;
    limits.operations.per_second = per_second;
    limit(limits);
  }
  Task<void> ask(BlockDevice* device, IoOp op, uint64_t length, bool background) {
    Buffer buffer(length);
    std::fill(buffer.span().begin(), buffer.span().end(), std::byte{1});
    while (!ended_) {
      auto io = op == IoOp::read ? device->read(0, buffer.span()) : device->write(0, buffer.span());
      io.request.background = background;
      const IoStatus status = co_await io;
      if (status == IoStatus::stopped) co_return;
      EXPECT_EQ(status, IoStatus::ok);
    }
  }
  void load(BlockDevice& device, IoOp op, uint64_t length, int depth, bool background = false) {
    for (int i = 0; i < depth; ++i) reactor_.spawn(ask(&device, op, length, background));
  }
  void run_for(TimeNs time_ns) { EXPECT_EQ(world_.run_for(time_ns), sim::World::Stop::time_limit); }
  uint64_t operations(CloudClass io_class) const {
    return meter_->stats().use[static_cast<size_t>(io_class)].operations;
  }
  void TearDown() override {
    if (meter_) meter_->stop();
    ended_ = true;
    reactor_.destroy_tasks();
  }

  sim::World world_{1};
  sim::SimReactor reactor_{world_, "host", 0};
  MemoryDevice memory_{8 * kMiB};
  Pressing pressing_;
  std::shared_ptr<CloudMeter> meter_;
  std::unique_ptr<MeteredDevice> base_;
  std::unique_ptr<MeteredDevice> log_;
  bool ended_ = false;
};

TEST_F(MeterTest, AnOperationIsCountedAsTheCloudCountsIt) {
  CloudLimits limits;
  EXPECT_EQ(limits.operations_of(512), 1u);
  EXPECT_EQ(limits.operations_of(256 << 10), 1u);
  EXPECT_EQ(limits.operations_of((256 << 10) + 1), 2u);
  EXPECT_EQ(limits.operations_of(4 * kMiB), 16u);
  limits.operation_bytes = 16 << 10;
  EXPECT_EQ(limits.operations_of(4 * kMiB), 256u);

  limits = {};
  limits.operations.per_second = 1000;
  limit(limits);
  Buffer data(kMiB);
  std::fill(data.span().begin(), data.span().end(), std::byte{1});
  EXPECT_EQ(
      test::run(world_, reactor_, test::io(log_.get(), IoOp::write, 0, data.span(), kMiB, false)),
      IoStatus::ok);
  EXPECT_EQ(test::run(world_, reactor_, test::io(log_.get(), IoOp::flush, 0, {}, 0, false)),
            IoStatus::ok);
  EXPECT_EQ(
      test::run(world_, reactor_, test::io(log_.get(), IoOp::discard, 0, {}, 4 * kMiB, false)),
      IoStatus::ok);
  const CloudUse ship = meter_->stats().use[static_cast<size_t>(CloudClass::ship)];
  EXPECT_EQ(ship.requests, 2u);
  EXPECT_EQ(ship.operations, 5u);
  EXPECT_EQ(ship.bytes, kMiB);
}

TEST_F(MeterTest, LargeAppendsAreFewOperations) {
  limit_iops(100);
  load(*log_, IoOp::write, 4 * kMiB, 2);
  run_for(10 * kSecond);
  // 100 operations a second carry 25 MiB a second in appends of 4 MiB ...
  const CloudUse ship = meter_->stats().use[static_cast<size_t>(CloudClass::ship)];
  EXPECT_NEAR(static_cast<double>(ship.bytes), 250.0 * kMiB, 10.0 * kMiB);
  EXPECT_EQ(ship.operations * (256 << 10), ship.bytes);
}

TEST_F(MeterTest, SmallWritesAreManyOperations) {
  limit_iops(100);
  load(*log_, IoOp::write, 4096, 2);
  run_for(10 * kSecond);
  // ... and 400 KiB in blocks of 4 KiB.
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::ship)), 1005, 2);
}

TEST_F(MeterTest, BothLimitsHoldForAllDevicesTogether) {
  CloudLimits limits;
  limits.operations.per_second = 500;
  limits.bytes.per_second = kMiB;
  limit(limits);
  load(*log_, IoOp::write, 4096, 4);
  load(*base_, IoOp::read, 4096, 4);
  run_for(10 * kSecond);
  // 256 a second by bytes; the slack at the start is 50 ms of them.
  EXPECT_NEAR(static_cast<double>(meter_->stats().total().operations), 2573, 5);
}

TEST_F(MeterTest, CreditsCarryABurstAndThenTheSoldRateHolds) {
  CloudLimits limits;  // a small gp2 volume, with fewer credits
  limits.operations = {100, 3000, 29'000};
  limit(limits);
  const TimeNs predicted_ns = meter_->time_for(30'600, 0);
  load(*base_, IoOp::read, 4096, 4);
  // 29,000 credits melt at 2,900 a second: 10 s at 3,000 a second ...
  run_for(10 * kSecond);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::foreground)), 30'100, 160);
  EXPECT_NEAR(meter_->stats().operation_credits, 0, 160);
  // ... then 100.
  const uint64_t before = operations(CloudClass::foreground);
  run_for(10 * kSecond);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::foreground) - before), 1000, 160);
  // 30,600 operations were said to take so long.
  EXPECT_NEAR(static_cast<double>(predicted_ns) / kSecond, 10 + 600 / 100.0, 0.1);
}

TEST_F(MeterTest, IdleTimeSavesCreditsUpToWhatCanBeSaved) {
  CloudLimits limits;
  limits.operations = {100, 1000, 500};
  limit(limits);
  load(*base_, IoOp::read, 4096, 1);
  run_for(20 * kSecond);
  EXPECT_NEAR(meter_->stats().operation_credits, 0, 10);
  ended_ = true;
  run_for(3 * kSecond);
  EXPECT_NEAR(meter_->stats().operation_credits, 300, 15);
  run_for(60 * kSecond);
  EXPECT_EQ(meter_->stats().operation_credits, 500);
}

TEST_F(MeterTest, ForegroundGoesFirstAndTheRestProgresses) {
  limit_iops(1200);
  load(*base_, IoOp::read, 4096, 64);
  load(*log_, IoOp::write, 4096, 64);
  load(*base_, IoOp::write, 4096, 64);
  run_for(10 * kSecond);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::foreground)), 8000, 100);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::ship)), 3000, 100);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::background)), 1000, 100);
}

TEST_F(MeterTest, AReadThatNobodyWaitsForIsBackground) {
  limit_iops(900);
  load(*base_, IoOp::read, 4096, 16);
  load(*base_, IoOp::read, 4096, 16, true);
  run_for(10 * kSecond);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::foreground)), 8000, 100);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::background)), 1000, 100);
}

TEST_F(MeterTest, WhatIsUrgentGetsTheLargerShare) {
  limit_iops(1000);
  pressing_.ship = true;
  load(*base_, IoOp::read, 4096, 64);
  load(*log_, IoOp::write, 4096, 64);
  run_for(10 * kSecond);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::ship)), 8000, 100);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::foreground)), 2000, 100);
}

TEST_F(MeterTest, AClassThatWasIdleHasSavedNothingUp) {
  limit_iops(1100);
  load(*base_, IoOp::read, 4096, 16);
  run_for(60 * kSecond);
  const uint64_t before = operations(CloudClass::foreground);
  load(*log_, IoOp::write, 4096, 16);
  run_for(10 * kSecond);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::foreground) - before), 8000, 100);
}

TEST_F(MeterTest, AloneAClassHasAllOfIt) {
  limit_iops(1000);
  load(*base_, IoOp::write, 4096, 4);
  run_for(10 * kSecond);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::background)), 10'050, 5);
}

TEST_F(MeterTest, WhatWaitedIsCounted) {
  limit_iops(10);
  load(*base_, IoOp::read, 4096, 5);
  run_for(10 * kSecond);
  const CloudMeterStats stats = meter_->stats();
  EXPECT_EQ(stats.waiting, 5u);
  EXPECT_EQ(stats.wanted_operations, stats.total().operations + 5);
  EXPECT_NEAR(static_cast<double>(stats.limited_ns), 10e9, 0.1e9);
  // Five wait at any time; those that still do are not in it yet.
  EXPECT_NEAR(static_cast<double>(stats.total().waited_ns), 49e9, 1e9);
}

TEST_F(MeterTest, AStopEndsWhatWaits) {
  limit_iops(1);
  load(*base_, IoOp::read, 4096, 8);
  run_for(kSecond);
  EXPECT_EQ(meter_->stats().waiting, 8u);
  meter_->stop();
  run_for(kMillisecond);
  EXPECT_EQ(meter_->stats().waiting, 0u);
  EXPECT_EQ(reactor_.task_count(), 1u);  // the meter's own, until it wakes up
}

TEST_F(MeterTest, AnotherRateHoldsFromThenOn) {
  limit_iops(100);
  load(*base_, IoOp::read, 4096, 8);
  run_for(10 * kSecond);
  const uint64_t before = operations(CloudClass::foreground);
  meter_->set_iops(1000);
  run_for(10 * kSecond);
  EXPECT_NEAR(static_cast<double>(operations(CloudClass::foreground) - before), 10'000, 60);
  EXPECT_EQ(meter_->stats().limits.operations.per_second, 1000u);
}

TEST_F(MeterTest, WithoutLimitsNothingWaits) {
  limit({});
  Buffer data(4096);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(
        test::run(world_, reactor_, test::io(base_.get(), IoOp::read, 0, data.span(), 4096, false)),
        IoStatus::ok);
  }
  EXPECT_EQ(world_.now(), 0);
  EXPECT_EQ(operations(CloudClass::foreground), 1000u);
}

/// Writes for `time_ns` as fast as the disk takes it; the greatest lag seen.
struct WriteLoad {
  DiskOptions options = test::DiskRig::defaults();
  TimeNs time_ns = 60 * kSecond;
  bool reads = false;  ///< clients read what only the cloud has, meanwhile
};

Task<void> write_on(HybridDisk* disk, sim::World* world, TimeNs until_ns, uint64_t* written) {
  Buffer block(kBlockBytes);
  std::fill(block.span().begin(), block.span().end(), std::byte{7});
  while (world->now() < until_ns) {
    const uint64_t at = world->random().below(64) * block.size();
    const IoStatus status = co_await disk->write(at, block.span());
    EXPECT_EQ(status, IoStatus::ok);
    *written += block.size();
  }
}

Task<void> read_on(HybridDisk* disk, sim::World* world, TimeNs until_ns) {
  Buffer block(kBlockBytes);
  while (world->now() < until_ns) {
    const uint64_t at = (512u << 10) + world->random().below(128) * kBlockBytes;
    const IoStatus status = co_await disk->read(at, block.span());
    EXPECT_EQ(status, IoStatus::ok);
  }
}

TimeNs longest_lag(test::DiskRig& rig, const WriteLoad& load, uint64_t* written) {
  const TimeNs until_ns = rig.world().now() + load.time_ns;
  for (int i = 0; i < 2; ++i)
    rig.reactor().spawn(write_on(&rig.disk(), &rig.world(), until_ns, written));
  for (int i = 0; i < 16 && load.reads; ++i)
    rig.reactor().spawn(read_on(&rig.disk(), &rig.world(), until_ns));
  TimeNs longest_ns = 0;
  while (rig.world().now() < until_ns) {
    rig.world().run_for(10 * kMillisecond);
    longest_ns = std::max(longest_ns, rig.disk().stats().lag_ns);
  }
  rig.world().run_for(20 * kSecond);
  return longest_ns;
}

TEST(CloudLimitsOfADisk, TheLagHoldsWhenTheCreditsAreSpent) {
  WriteLoad load;
  load.options.max_lag_ns = 2 * kSecond;
  // 8 MiB of credits, then a fifth of the rate.
  load.options.cloud_limits.bytes = {200'000, 1'000'000, 8u << 20};
  test::DiskRig rig(load.options);
  uint64_t written = 0;
  const TimeNs lag_ns = longest_lag(rig, load, &written);
  EXPECT_GT(written, 4u << 20);
  EXPECT_LT(lag_ns, load.options.max_lag_ns);
  // They were: what is there was saved since.
  EXPECT_LT(rig.disk().stats().cloud_meter.byte_credits, 4.1e6);
}

TEST(CloudLimitsOfADisk, TheLagHoldsBesideReadsThatMiss) {
  WriteLoad load;
  load.options.max_lag_ns = 2 * kSecond;
  load.options.cloud_limits.operations.per_second = 200;
  load.reads = true;
  test::DiskRig rig(load.options);
  uint64_t written = 0;
  const TimeNs lag_ns = longest_lag(rig, load, &written);
  EXPECT_LT(lag_ns, load.options.max_lag_ns);
  const CloudMeterStats stats = rig.disk().stats().cloud_meter;
  EXPECT_GT(stats.use[0].operations, 5000u);
  EXPECT_GT(stats.use[1].operations, 2000u);
  EXPECT_GT(stats.use[2].operations, 1500u);
}

TEST(CloudLimitsOfADisk, AWaitForATurnIsNoSilenceOfTheCloud) {
  DiskOptions options = test::DiskRig::defaults();
  options.cloud_limits.operations.per_second = 1;
  test::DiskRig rig(options);
  for (uint64_t at = 0; at < 64; ++at)
    EXPECT_EQ(rig.write(at * kBlockBytes, test::filled(kBlockBytes, 1)), IoStatus::ok);
  for (int i = 0; i < 12; ++i)
    rig.reactor().spawn(read_on(&rig.disk(), &rig.world(), rig.world().now() + 20 * kSecond));
  rig.world().run_for(10 * kSecond);
  const DiskStats stats = rig.disk().stats();
  EXPECT_GT(stats.cloud_meter.waiting, 0u);
  EXPECT_LT(stats.cloud_waiting_ns, kSecond);
  EXPECT_EQ(stats.state, "online");
}

}  // namespace
}  // namespace latte
