// Device models: presets reach the figures they are documented with, looking ahead changes nothing,
// and collection, credits and congestion do what they are there for.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "base/random.h"
#include "model/cloud_model.h"
#include "model/depth_driver.h"
#include "model/nvme_model.h"
#include "model/stack_model.h"

namespace latte::model {
namespace {

double mean_us(const Histogram& histogram) {
  return static_cast<double>(histogram.sum_ns()) / static_cast<double>(histogram.count()) / 1e3;
}

DepthLoad random_reads(uint32_t depth) {
  DepthLoad load;
  load.depth = depth;
  return load;
}

DepthLoad random_writes(uint32_t depth) {
  DepthLoad load = random_reads(depth);
  load.read_share = 0;
  load.requests = 1'000'000;
  load.warm_up = 500'000;
  return load;
}

DepthLoad streaming(double read_share) {
  DepthLoad load;
  load.depth = 64;
  load.length_bytes = 128u << 10;
  load.read_share = read_share;
  load.sequential = true;
  load.requests = 50'000;
  load.warm_up = 5'000;
  return load;
}

/// A drive that has not begun to collect.
NvmeOptions fresh(NvmeOptions options) {
  options.free_bytes_at_start = uint64_t{1} << 40;
  return options;
}

TEST(NvmeModel, Gen4ReadsAsThePapersDrive) {
  NvmeModel idle(fresh(nvme_gen4()), 1);
  const DepthResult one = drive_at_depth(idle, random_reads(1));
  EXPECT_NEAR(mean_us(one.reads), 75, 2);
  NvmeModel busy(fresh(nvme_gen4()), 1);
  EXPECT_NEAR(drive_at_depth(busy, random_reads(256)).iops, 1e6, 0.03e6);
  NvmeModel stream(fresh(nvme_gen4()), 1);
  EXPECT_NEAR(drive_at_depth(stream, streaming(1)).bytes_per_second, 6.9e9, 0.1e9);
}

TEST(NvmeModel, Gen4WritesAsThePapersDrive) {
  NvmeModel steady(nvme_gen4(), 1);
  const DepthResult random = drive_at_depth(steady, random_writes(128));
  EXPECT_NEAR(random.iops, 180e3, 15e3);
  EXPECT_GT(random.writes.quantile_ns(0.999), 1 * kMillisecond);
  NvmeModel stream(fresh(nvme_gen4()), 1);
  EXPECT_NEAR(drive_at_depth(stream, streaming(0)).bytes_per_second, 4.1e9, 0.1e9);
  NvmeModel idle(fresh(nvme_gen4()), 1);
  DepthLoad one = random_writes(1);
  one.requests = 20'000;
  one.warm_up = 0;
  EXPECT_NEAR(mean_us(drive_at_depth(idle, one).writes), 11, 2);
}

TEST(NvmeModel, Gen3IsSlowerThroughout) {
  NvmeModel idle(fresh(nvme_gen3()), 1);
  EXPECT_NEAR(mean_us(drive_at_depth(idle, random_reads(1)).reads), 85, 3);
  NvmeModel stream(fresh(nvme_gen3()), 1);
  EXPECT_NEAR(drive_at_depth(stream, streaming(1)).bytes_per_second, 3.2e9, 0.1e9);
  NvmeModel steady(nvme_gen3(), 1);
  EXPECT_LT(drive_at_depth(steady, random_writes(128)).iops, 110e3);
}

TEST(NvmeModel, CollectionBeginsWhenFreeSpaceIsUsedUp) {
  NvmeOptions options = nvme_gen4();
  options.free_bytes_at_start = 1u << 30;
  NvmeModel drive(options, 3);
  DepthLoad load = random_writes(32);
  load.warm_up = 0;
  load.requests = 200'000;  // 0.8 GB
  const DepthResult before = drive_at_depth(drive, load);
  EXPECT_FALSE(drive.collecting());
  EXPECT_EQ(drive.write_amplification(), 1);
  load.requests = 600'000;
  const DepthResult after = drive_at_depth(drive, load, before.end_ns);
  EXPECT_TRUE(drive.collecting());
  EXPECT_GT(drive.write_amplification(), 2);
  EXPECT_GT(after.writes.quantile_ns(0.99), 4 * before.writes.quantile_ns(0.99));
}

TEST(NvmeModel, SequentialWritesCollectNextToNothing) {
  NvmeModel drive(nvme_gen4(), 3);
  DepthLoad load = streaming(0);
  load.warm_up = 1000;
  drive_at_depth(drive, load);
  EXPECT_LT(drive.write_amplification(), 1.2);
}

TEST(NvmeModel, ReadsBesideWritesMeetProgramsAndErases) {
  NvmeModel drive(nvme_gen4(), 5);
  DepthLoad load = random_writes(32);
  load.read_share = 0.5;
  load.requests = 300'000;
  load.warm_up = 100'000;
  const DepthResult mixed = drive_at_depth(drive, load);
  EXPECT_GT(mixed.reads.quantile_ns(0.999), 500 * kMicrosecond);
  EXPECT_LT(mixed.reads.quantile_ns(0.5), 300 * kMicrosecond);
}

TEST(CloudModel, PresetsReachTheirCaps) {
  CloudModel premium(cloud_ebsx(), 1);
  const DepthResult one = drive_at_depth(premium, random_reads(1));
  EXPECT_NEAR(mean_us(one.reads), 30, 2);
  EXPECT_NEAR(drive_at_depth(premium, random_reads(256), one.end_ns).iops, 1e6, 0.03e6);
  CloudModel stream(cloud_ebsx(), 1);
  EXPECT_NEAR(drive_at_depth(stream, streaming(1)).bytes_per_second, 6e9, 0.1e9);
  CloudModel standard(cloud_ebs(), 1);
  EXPECT_NEAR(drive_at_depth(standard, random_reads(128)).iops, 50e3, 2e3);
}

TEST(CloudModel, CreditsAreUsedUpAndComeBack) {
  CloudOptions options = cloud_gp2();
  options.credits = 30'000;
  CloudModel volume(options, 1);
  DepthLoad load = random_reads(32);
  load.requests = 25'000;
  const DepthResult burst = drive_at_depth(volume, load);
  EXPECT_NEAR(burst.iops, 3'000, 150);
  load.requests = 20'000;
  load.warm_up = 15'000;
  const DepthResult spent = drive_at_depth(volume, load, burst.end_ns);
  EXPECT_NEAR(spent.iops, 300, 15);
  load.requests = 6'000;
  load.warm_up = 0;
  EXPECT_GT(drive_at_depth(volume, load, spent.end_ns + 60 * kSecond).iops, 2'500);
}

TEST(CloudModel, CongestionComesInSpells) {
  CloudOptions options = cloud_ebs();
  options.clear_mean_ns = 2 * kSecond;
  CloudModel volume(options, 7);
  ModelIo io{0, ModelOp::write, 0, 4096};
  double sum_us[2] = {0, 0};
  double count[2] = {0, 0};
  for (; io.time_ns < 60 * kSecond; io.time_ns += kMillisecond) {
    const TimeNs end_ns = volume.submit(io);
    sum_us[volume.congested()] += static_cast<double>(end_ns - io.time_ns) / 1e3;
    ++count[volume.congested()];
  }
  ASSERT_GT(count[1], 1000);
  EXPECT_NEAR(count[1] / (count[0] + count[1]), 0.09, 0.06);
  EXPECT_GT(sum_us[1] / count[1], 4 * sum_us[0] / count[0]);
}

/// A mixture that finds buffers full, programs under way and queues.
std::vector<ModelIo> mixture(uint64_t seed) {
  Random random(seed);
  std::vector<ModelIo> all;
  TimeNs now_ns = 0;
  for (int i = 0; i < 60'000; ++i) {
    now_ns += random.chance(1, 500) ? 3 * kMillisecond : static_cast<TimeNs>(random.below(12'000));
    ModelIo io;
    io.time_ns = now_ns;
    io.op = random.chance(1, 200) ? ModelOp::flush
            : random.chance(1, 2) ? ModelOp::read
                                  : ModelOp::write;
    io.length_bytes = io.op == ModelOp::flush ? 0 : 4096u << random.below(8);
    io.offset = random.below(1u << 20) * 4096;
    all.push_back(io);
  }
  return all;
}

void expect_peek_changes_nothing(DeviceModel& looked_at, DeviceModel& left_alone) {
  Random random(9);
  uint64_t peeks = 0;
  for (const ModelIo& io : mixture(4)) {
    for (uint64_t i = random.below(3); i > 0; --i, ++peeks) {
      ModelIo other = io;
      other.offset += 4096 * random.below(1000);
      other.length_bytes = 4096u << random.below(10);
      other.op = random.chance(1, 2) ? ModelOp::read : ModelOp::write;
      looked_at.peek(other);
    }
    const TimeNs expected_ns = looked_at.peek(io);
    ASSERT_EQ(looked_at.submit(io), expected_ns);
    ASSERT_EQ(left_alone.submit(io), expected_ns);
    ASSERT_GT(expected_ns, io.time_ns);
  }
  EXPECT_GT(peeks, 10'000u);
}

TEST(DeviceModel, PeekingChangesNothing) {
  NvmeOptions drive = nvme_gen4();
  drive.buffer_bytes = 4u << 20;
  drive.collect_window_bytes = 8u << 20;
  NvmeModel drive_a(drive, 11), drive_b(drive, 11);
  expect_peek_changes_nothing(drive_a, drive_b);
  CloudOptions cloud = cloud_gp2();
  cloud.credits = 10'000;
  cloud.clear_mean_ns = 20 * kMillisecond;
  CloudModel cloud_a(cloud, 11), cloud_b(cloud, 11);
  expect_peek_changes_nothing(cloud_a, cloud_b);
  StackShare share_a(stack_doppio()), share_b(stack_doppio());
  StackModel stack_a(stack_doppio(), drive_a, share_a), stack_b(stack_doppio(), drive_b, share_b);
  NvmeModel drive_c(drive, 12), drive_d(drive, 12);
  StackModel stack_c(stack_doppio(), drive_c, share_a), stack_d(stack_doppio(), drive_d, share_b);
  expect_peek_changes_nothing(stack_c, stack_d);
}

TEST(DeviceModel, ASeedRepeatsAndAnotherDiffers) {
  NvmeModel first(nvme_gen4(), 1), again(nvme_gen4(), 1), other(nvme_gen4(), 2);
  uint64_t same = 0;
  const std::vector<ModelIo> all = mixture(2);
  for (const ModelIo& io : all) {
    const TimeNs end_ns = first.submit(io);
    ASSERT_EQ(again.submit(io), end_ns);
    same += other.submit(io) == end_ns;
  }
  EXPECT_LT(same, all.size());
}

TEST(StackModel, EachGenerationReachesItsCap) {
  const struct {
    StackOptions stack;
    double iops;
  } cases[] = {{stack_kernel_virtio(), 95.4e3},
               {stack_espresso(), 576e3},
               {stack_doppio(), 661e3},
               {stack_ristretto(), 949e3}};
  for (const auto& item : cases) {
    NvmeModel drive(fresh(nvme_gen4()), 1);
    StackShare share(item.stack);
    StackModel disk(item.stack, drive, share);
    EXPECT_NEAR(drive_at_depth(disk, random_reads(256)).iops, item.iops, item.iops * 0.02)
        << item.stack.name;
  }
  NvmeModel drive(fresh(nvme_gen4()), 1);
  StackShare share(stack_ristretto());
  StackModel disk(stack_ristretto(), drive, share);
  EXPECT_NEAR(mean_us(drive_at_depth(disk, random_reads(1)).reads), 77, 2.5);
}

}  // namespace
}  // namespace latte::model
