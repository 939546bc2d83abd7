// Reads that both tiers could answer: the cloud is asked now and then, and whatever it answers, or
// does not, the data are right and soon there.
#include <gtest/gtest.h>

#include "disk_test_support.h"

namespace latte::test {
namespace {

constexpr uint64_t kB = kBlockBytes;
constexpr uint64_t kBlocks = 64;

int value(uint64_t block) { return static_cast<int>(block + 1); }

/// A disk whose blocks hold their number plus one; pool and cloud have all of them.
class DispatchRig : public DiskRig {
 public:
  explicit DispatchRig(DispatchMode mode) : DiskRig(dispatching(defaults(), mode)) {
    for (uint64_t i = 0; i < kBlocks; ++i)
      EXPECT_EQ(write(i * kB, filled(kB, value(i))), IoStatus::ok);
    (void)world().run_for(5 * kSecond);
    EXPECT_EQ(stats().dirty_bytes, 0u);
  }
  /// Reads block after block; the longest time one took.
  TimeNs read_many(uint64_t reads) {
    TimeNs longest_ns = 0;
    for (uint64_t i = 0; i < reads; ++i) {
      const TimeNs begun = world().now();
      EXPECT_EQ(read(i % kBlocks * kB, kB), filled(kB, value(i % kBlocks)));
      longest_ns = std::max(longest_ns, world().now() - begun);
    }
    return longest_ns;
  }
  /// Reads so many blocks at the same time, and expects all of them within `limit_ns`.
  void read_at_once(size_t reads, TimeNs limit_ns) {
    std::vector<Bytes> data(reads, Bytes(kB));
    std::vector<std::optional<IoStatus>> done(reads);
    for (size_t i = 0; i < reads; ++i) {
      Task<IoStatus> task = io(&disk(), IoOp::read, i % kBlocks * kB, data[i], kB, false);
      Task<void> body = store(std::move(task), &done[i]);
      reactor().spawn(std::move(body));
    }
    (void)world().run_for(limit_ns);
    for (size_t i = 0; i < reads; ++i) {
      ASSERT_EQ(done[i], IoStatus::ok) << i;
      ASSERT_EQ(data[i], filled(kB, value(i % kBlocks)));
    }
  }
};

TEST(ReadDispatch, TheCloudIsAskedNowAndThen) {
  DispatchRig rig(DispatchMode::wait);
  DispatchRig local(DispatchMode::local);
  rig.read_many(100);
  const uint64_t before = rig.stats().cloud.reads;
  const TimeNs longest_ns = rig.read_many(2000);
  EXPECT_LE(longest_ns, 2 * local.read_many(2000)) << "somebody waited for the cloud";
  const DiskStats stats = rig.stats();
  EXPECT_GT(stats.cloud.reads, before + 2);
  EXPECT_LT(stats.cloud.reads, before + 100);  // it is much slower
  EXPECT_EQ(stats.read_hit_blocks, 2100u);
  EXPECT_EQ(stats.read_miss_blocks, 0u);
}

TEST(ReadDispatch, LocalNeverAsksTheCloud) {
  DispatchRig rig(DispatchMode::local);
  const uint64_t before = rig.stats().cloud.reads;
  rig.read_many(500);
  EXPECT_EQ(rig.stats().cloud.reads, before);
}

TEST(ReadDispatch, TheModelIsTrainedOnTheDisksOwnReads) {
  DispatchRig rig(DispatchMode::svm);
  rig.read_many(60'000);
  EXPECT_GT(rig.stats().dispatch_trainings, 0u);
  EXPECT_LT(rig.stats().cloud_served_blocks, 6000u);
}

TEST(ReadDispatch, ManyReadsAtOnceUseBothTiers) {
  DispatchRig rig(DispatchMode::wait);
  rig.read_at_once(2000, 5 * kSecond);
  EXPECT_GT(rig.stats().cloud_served_blocks, 0u);
}

TEST(ReadDispatch, WhatTheCloudDoesNotHaveYetIsReadFromThePool) {
  DispatchRig rig(DispatchMode::wait);
  // Shipped within half a second, not before: longer than these reads take.
  for (uint64_t i = 0; i < kBlocks; ++i)
    ASSERT_EQ(rig.write(i * kB, filled(kB, value(i) + 100)), IoStatus::ok);
  const uint64_t served = rig.stats().cloud_served_blocks;
  for (uint64_t i = 0; i < 512; ++i)
    ASSERT_EQ(rig.read(i % kBlocks * kB, kB), filled(kB, value(i % kBlocks) + 100));
  ASSERT_GT(rig.stats().dirty_bytes, 0u);
  EXPECT_EQ(rig.stats().cloud_served_blocks, served);
}

TEST(ReadDispatch, ASilentCloudCostsAFewMilliseconds) {
  DispatchRig rig(DispatchMode::wait);
  rig.read_many(500);
  rig.cloud().begin_outage(sim::Outage::hang, rig.world().now() + 60 * kSecond);
  EXPECT_LT(rig.read_many(2000), 25 * kMillisecond);
  rig.cloud().end_outage();
  EXPECT_TRUE(rig.run(rig.host().stop()).ok());
}

TEST(ReadDispatch, ACloudThatFailsCostsNoError) {
  DispatchRig rig(DispatchMode::wait);
  rig.cloud().faults().error = 1'000'000;
  EXPECT_LT(rig.read_many(1000), 25 * kMillisecond);
}

TEST(ReadDispatch, ADriveThatHangsIsNotWaitedFor) {
  DispatchRig rig(DispatchMode::wait);
  rig.read_many(500);
  EXPECT_EQ(rig.stats().hedged_blocks, 0u);
  rig.drive().faults().hang = 1'000'000;  // each answers 2 s late
  EXPECT_LT(rig.read_many(300), 25 * kMillisecond);
  EXPECT_GT(rig.stats().hedged_blocks, 0u);
  EXPECT_EQ(rig.stats().read_miss_blocks, 0u);
  rig.drive().faults().hang = 0;
  EXPECT_TRUE(rig.run(rig.host().stop()).ok());
}

TEST(ReadDispatch, ManyReadsOfADriveThatHangsAreAnsweredByTheCloud) {
  DispatchRig rig(DispatchMode::wait);
  rig.read_many(500);
  rig.drive().faults().hang = 1'000'000;
  rig.read_at_once(400, 500 * kMillisecond);
}

TEST(ReadDispatch, ASilentDriveIsProbedWithReadsThatNobodyWaitsFor) {
  DispatchRig rig(DispatchMode::wait);
  const Bytes large = filled(8 * kB, 7);  // is not hedged
  ASSERT_EQ(rig.write(0, large), IoStatus::ok);
  (void)rig.world().run_for(5 * kSecond);
  for (int i = 0; i < 500; ++i) ASSERT_EQ(rig.read(0, 8 * kB), large);
  rig.drive().faults().hang = 1'000'000;
  (void)rig.read(8 * kB, kB);
  (void)rig.world().run_for(600 * kMillisecond);
  const uint64_t before = rig.stats().cloud_served_blocks;
  const TimeNs end_ns = rig.world().now() + kSecond;
  TimeNs longest_ns = 0;
  while (rig.world().now() < end_ns) {
    const TimeNs begun = rig.world().now();
    ASSERT_EQ(rig.read(0, 8 * kB), large);
    longest_ns = std::max(longest_ns, rig.world().now() - begun);
  }
  EXPECT_GT(rig.stats().cloud_served_blocks, before);
  EXPECT_LT(longest_ns, 25 * kMillisecond);
  rig.drive().faults().hang = 0;
  EXPECT_TRUE(rig.run(rig.host().stop()).ok());
}

TEST(ReadDispatch, WhereBothHangTheDriveIsWaitedFor) {
  DispatchRig rig(DispatchMode::wait);
  rig.read_many(500);
  rig.drive().faults().hang = 1'000'000;
  rig.cloud().begin_outage(sim::Outage::hang, rig.world().now() + 60 * kSecond);
  const TimeNs longest_ns = rig.read_many(3);
  EXPECT_GE(longest_ns, 2 * kSecond);
  EXPECT_LT(longest_ns, 3 * kSecond);
}

TEST(ReadDispatch, ADriveThatFailsInAHedgedReadIsReadFromTheCloud) {
  DispatchRig rig(DispatchMode::wait);
  rig.read_many(500);
  rig.drive().faults().read_error = 1'000'000;
  rig.read_many(64);
  EXPECT_GT(rig.stats().read_miss_blocks, 0u);
}

TEST(ReadDispatch, WrongDataOfTheCloudAreNotShown) {
  DispatchRig rig(DispatchMode::wait);
  Progress progress;
  ASSERT_TRUE(rig.run(rig.disk().drain(&progress)).ok());  // the base has no checksums
  Random random(1);
  for (uint64_t page = 0; page < kBlocks; ++page) rig.cloud().base_store().corrupt(page, random);
  rig.read_many(2000);
  EXPECT_EQ(rig.stats().cloud_served_blocks, 0u);
}

}  // namespace
}  // namespace latte::test
