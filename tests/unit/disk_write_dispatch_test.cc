// Writes that go into the cloud log before older ones: they are there when the disk is, in
// whichever way it comes back, and neither tier holds a writer up for long.
#include <gtest/gtest.h>

#include <algorithm>

#include "disk_test_support.h"

namespace latte::test {
namespace {

constexpr uint64_t kB = kBlockBytes;
constexpr uint64_t kBlocks = 64;

/// A disk whose blocks hold 1, and so does the cloud.
class WriteRig : public DiskRig {
 public:
  explicit WriteRig(DispatchMode mode, uint64_t seed = 1)
      : DiskRig(dispatching(defaults(), mode), seed) {
    write_all(1);
  }

  uint64_t early_blocks() { return stats().early_blocks; }
  void settle() { (void)world().run_for(3 * kSecond); }
  /// Each block in turn, and waits until the cloud has them; the longest time one took.
  TimeNs write_all(int value) {
    TimeNs longest_ns = 0;
    for (uint64_t i = 0; i < kBlocks; ++i) {
      const TimeNs begun = world().now();
      EXPECT_EQ(write(i * kB, filled(kB, value)), IoStatus::ok);
      longest_ns = std::max(longest_ns, world().now() - begun);
    }
    settle();
    return longest_ns;
  }
  /// Writes blocks with `value` until so many of them went early; returns how many it wrote.
  uint64_t write_until_early(uint64_t early, int value) {
    const uint64_t before = early_blocks();
    uint64_t i = 0;
    while (i < kBlocks && early_blocks() < before + early)
      EXPECT_EQ(write(i++ * kB, filled(kB, value)), IoStatus::ok);
    EXPECT_GE(early_blocks(), before + early);
    return i;
  }
  std::vector<int> content() {
    std::vector<int> values;
    for (uint64_t i = 0; i < kBlocks; ++i) {
      const Bytes block = read(i * kB, kB);
      EXPECT_EQ(block, filled(kB, static_cast<int>(block.front()))) << i;
      values.push_back(static_cast<int>(block.front()));
    }
    return values;
  }
  void expect_all(int value) { EXPECT_EQ(content(), std::vector<int>(kBlocks, value)); }
  /// Writes block after block, some time apart; how many were done `limit_ns` after the last.
  size_t write_beside(size_t writes, int value, TimeNs limit_ns) {
    const Bytes data = filled(kB, value);
    std::vector<std::optional<IoStatus>> done(writes);
    std::vector<Bytes> memory(writes, data);
    for (size_t i = 0; i < writes; ++i) {
      Task<void> body = store(io(&disk(), IoOp::write, i * kB, memory[i], kB, false), &done[i]);
      reactor().spawn(std::move(body));
      (void)world().run_for(10 * kMillisecond);
    }
    (void)world().run_for(limit_ns);
    const auto count = static_cast<size_t>(std::count(done.begin(), done.end(), IoStatus::ok));
    drive().faults().hang = 0;
    (void)world().run_for(30 * kSecond);
    EXPECT_EQ(std::count(done.begin(), done.end(), IoStatus::ok), static_cast<long>(writes));
    return count;
  }
};

TEST(WriteDispatch, LocalNeverWritesToTheCloudAtOnce) {
  WriteRig rig(DispatchMode::local);
  rig.write_all(2);
  EXPECT_EQ(rig.early_blocks(), 0u);
}

TEST(WriteDispatch, ASlowerCloudStaysKnownAndCostsNoTime) {
  WriteRig rig(DispatchMode::wait);
  TimeNs longest_ns = 0;
  for (int value = 2; value < 20; ++value) longest_ns = std::max(longest_ns, rig.write_all(value));
  EXPECT_LT(longest_ns, kMillisecond);
  EXPECT_EQ(rig.early_blocks(), 0u);
  EXPECT_GT(rig.stats().early_overtaken_blocks, 2u);
  EXPECT_LT(rig.stats().early_overtaken_blocks, 100u);
  rig.expect_all(19);
}

TEST(WriteDispatch, WhatWentEarlyIsReadAndMovesToAnotherHost) {
  WriteRig rig(DispatchMode::lots);
  for (int value = 2; value < 9; ++value) {
    rig.write_all(value);
    rig.expect_all(value);
  }
  EXPECT_GT(rig.early_blocks(), kBlocks);
  move_to_another_host(rig);
  rig.expect_all(8);
}

TEST(WriteDispatch, WhatWaitsToBeShippedIsNotOvertaken) {
  WriteRig rig(DispatchMode::lots);
  const uint64_t shipped = rig.stats().dirty_bytes;
  while (rig.stats().dirty_bytes == shipped) ASSERT_EQ(rig.write(0, filled(kB, 2)), IoStatus::ok);
  const uint64_t early = rig.early_blocks();
  for (int value = 3; value < 40; ++value) ASSERT_EQ(rig.write(0, filled(kB, value)), IoStatus::ok);
  ASSERT_EQ(rig.command(IoOp::discard, 8 * kB, 4 * kB), IoStatus::ok);
  for (int value = 3; value < 40; ++value)
    ASSERT_EQ(rig.write(8 * kB, filled(4 * kB, value)), IoStatus::ok);
  EXPECT_EQ(rig.early_blocks(), early);
}

TEST(WriteDispatch, ATakeOverDropsWhatWentBeforeOlderWrites) {
  for (int value = 2; value < 12; ++value) {
    WriteRig rig(DispatchMode::lots, static_cast<uint64_t>(value));
    const uint64_t written = rig.write_until_early(8, value);
    ASSERT_GT(written, 8u);  // and the others wait in the pool
    move_to_another_host(rig);
    const std::vector<int> found = rig.content();
    const auto end = std::find(found.begin(), found.end(), 1);
    EXPECT_TRUE(std::all_of(end, found.end(), [](int block) { return block == 1; }));
    EXPECT_LT(static_cast<uint64_t>(end - found.begin()), written);
    rig.write_all(100);
    move_to_another_host(rig);
    rig.expect_all(100);
  }
}

TEST(WriteDispatch, PowerLossTakesOlderWritesOnly) {
  for (int value = 2; value < 12; ++value) {
    WriteRig rig(DispatchMode::lots, static_cast<uint64_t>(value));
    const uint64_t early = 6;
    const uint64_t written = rig.write_until_early(early, value);
    rig.kill(true);
    rig.boot();
    ASSERT_TRUE(rig.attach().ok());
    const std::vector<int> found = rig.content();
    EXPECT_GE(static_cast<uint64_t>(std::count(found.begin(), found.end(), value)), early);
    EXPECT_EQ(std::count(found.begin() + static_cast<long>(written), found.end(), 1),
              static_cast<long>(kBlocks - written));
    // What was lost is accounted for: nothing that comes later is behind a gap.
    rig.settle();
    ASSERT_EQ(rig.write((kBlocks - 1) * kB, filled(kB, 99)), IoStatus::ok);
    rig.settle();
    move_to_another_host(rig);
    std::vector<int> expected = found;
    expected.back() = 99;
    EXPECT_EQ(rig.content(), expected);
  }
}

TEST(WriteDispatch, DrainingTakesEarlyWritesToTheBase) {
  WriteRig rig(DispatchMode::lots);
  rig.write_until_early(8, 2);
  Progress progress;
  ASSERT_TRUE(rig.run(rig.disk().drain(&progress)).ok());
  const std::vector<int> found = rig.content();
  // The pool's older copies are known to be stale although the cloud log no longer says so.
  rig.kill(false);
  rig.boot();
  ASSERT_TRUE(rig.attach().ok());
  EXPECT_EQ(rig.content(), found);
}

TEST(WriteDispatch, ADriveThatHangsDelaysOnlyWhatIsInIt) {
  WriteRig rig(DispatchMode::wait);
  for (int value = 2; value < 20; ++value) rig.write_all(value);
  rig.drive().faults().hang = 1'000'000;  // each answers 2 s late
  EXPECT_GT(rig.write_beside(40, 30, 60 * kMillisecond), 30u);
  rig.write_all(31);
  rig.expect_all(31);
}

TEST(WriteDispatch, ACloudThatHangsIsNotWaitedFor) {
  WriteRig rig(DispatchMode::lots);
  rig.cloud().begin_outage(sim::Outage::hang, rig.world().now() + 60 * kSecond);
  EXPECT_LT(rig.write_all(2), 150 * kMillisecond);
  rig.expect_all(2);
  rig.cloud().end_outage();
  (void)rig.world().run_for(90 * kSecond);  // what hangs is answered after 60 s
  EXPECT_EQ(rig.stats().dirty_bytes, 0u);
  rig.expect_all(2);
  move_to_another_host(rig);
  rig.expect_all(2);
}

TEST(WriteDispatch, TheLagCountsEarlyWritesBehindOlderOnes) {
  WriteRig rig(DispatchMode::wait);
  for (int value = 2; value < 20; ++value) rig.write_all(value);
  rig.drive().faults().hang = 1'000'000;
  std::vector<std::optional<IoStatus>> done(8);
  std::vector<Bytes> memory(8, filled(kB, 50));
  for (size_t i = 0; i < 8; ++i) {
    Task<void> body = store(io(&rig.disk(), IoOp::write, i * kB, memory[i], kB, false), &done[i]);
    rig.reactor().spawn(std::move(body));
    (void)rig.world().run_for(10 * kMillisecond);
  }
  (void)rig.world().run_for(kSecond);
  ASSERT_GT(std::count(done.begin(), done.end(), IoStatus::ok), 0);
  EXPECT_GT(rig.stats().lag_ns, 900 * kMillisecond);
  rig.drive().faults().hang = 0;
  rig.settle();
  EXPECT_EQ(rig.stats().lag_ns, 0);
}

}  // namespace
}  // namespace latte::test
