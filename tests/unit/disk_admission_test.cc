// Copies of cloud blocks in the pool: when they are made, what makes them go, and that they are
// never older than what was written.
#include <gtest/gtest.h>

#include "disk_test_support.h"

namespace latte::test {
namespace {

constexpr uint64_t kB = kBlockBytes;
constexpr uint64_t kBlocks = 64;

policy::AdmissionOptions admitting(policy::AdmissionMode mode, uint64_t budget_bytes = 0) {
  policy::AdmissionOptions options;
  options.mode = mode;
  options.write_budget_bytes = budget_bytes;
  return options;
}

/// A disk whose blocks hold their number plus one, all of them in the base and none in the pool.
class ColdDisk : public DiskRig {
 public:
  explicit ColdDisk(policy::AdmissionOptions admission) : DiskRig(defaults(), 1, admission) {
    for (uint64_t i = 0; i < kBlocks; ++i)
      EXPECT_EQ(write(i * kB, filled(kB, value(i))), IoStatus::ok);
    Progress progress;
    EXPECT_TRUE(run(disk().drain(&progress)).ok());
    move_to_another_host(*this);
  }
  static int value(uint64_t block) { return static_cast<int>(block + 1); }

  void settle() { (void)world().run_for(kSecond); }
  void read_all() {
    for (uint64_t i = 0; i < kBlocks; ++i) EXPECT_EQ(read(i * kB, kB), filled(kB, value(i)));
    settle();
  }
  /// Hits and misses of reading everything once.
  std::pair<uint64_t, uint64_t> hits_and_misses() {
    const DiskStats before = stats();
    read_all();
    const DiskStats after = stats();
    return {after.read_hit_blocks - before.read_hit_blocks,
            after.read_miss_blocks - before.read_miss_blocks};
  }
};
using Counts = std::pair<uint64_t, uint64_t>;

TEST(Admission, AllTakesTheFirstMiss) {
  ColdDisk rig(admitting(policy::AdmissionMode::all));
  EXPECT_EQ(rig.hits_and_misses(), Counts(0, kBlocks));
  EXPECT_EQ(rig.hits_and_misses(), Counts(kBlocks, 0));
  const HostStats stats = rig.host().stats();
  EXPECT_EQ(stats.pool.written.admission, kBlocks * kB);
  EXPECT_EQ(stats.disks.front().admitted_blocks, kBlocks);
  EXPECT_EQ(stats.pool.written.user, 0u);
  EXPECT_EQ(stats.pool.dirty_bytes, 0u);
}

TEST(Admission, S3FifoTakesTheSecondMiss) {
  ColdDisk rig(admitting(policy::AdmissionMode::s3fifo));
  EXPECT_EQ(rig.hits_and_misses(), Counts(0, kBlocks));
  EXPECT_EQ(rig.host().stats().pool.written.admission, 0u);
  EXPECT_EQ(rig.hits_and_misses(), Counts(0, kBlocks));
  EXPECT_EQ(rig.hits_and_misses(), Counts(kBlocks, 0));
}

TEST(Admission, NoneTakesNothing) {
  ColdDisk rig(admitting(policy::AdmissionMode::none));
  for (int round = 0; round < 3; ++round) EXPECT_EQ(rig.hits_and_misses(), Counts(0, kBlocks));
}

TEST(Admission, CopiesComeBackAfterPowerLossDeathAndStop) {
  for (const int end : {0, 1, 2}) {
    ColdDisk rig(admitting(policy::AdmissionMode::all));
    rig.read_all();
    if (end == 0) {
      EXPECT_TRUE(rig.run(rig.host().stop()).ok());
      rig.kill(true);
    } else {
      rig.kill(end == 1);
    }
    rig.boot();
    ASSERT_TRUE(rig.attach().ok());
    const auto [hits, misses] = rig.hits_and_misses();
    EXPECT_EQ(hits + misses, kBlocks);
    // What the drive had not made durable may go with the power.
    if (end != 1) {
      EXPECT_EQ(misses, 0u) << end;
    }
  }
}

TEST(Admission, AWriteThatOvertakesTheFetchWins) {
  for (const bool zero : {false, true}) {
    ColdDisk rig(admitting(policy::AdmissionMode::all));
    Bytes got(kB);
    std::optional<IoStatus> read_status;
    Task<IoStatus> fetch = io(&rig.disk(), IoOp::read, 0, got, kB, false);
    Task<void> body = store(std::move(fetch), &read_status);
    rig.reactor().spawn(std::move(body));
    // The drive answers long before the cloud.
    const IoStatus written =
        zero ? rig.command(IoOp::write_zeroes, 0, kB) : rig.write(0, filled(kB, 200));
    EXPECT_EQ(written, IoStatus::ok);
    ASSERT_FALSE(read_status.has_value());
    rig.settle();
    ASSERT_EQ(read_status, IoStatus::ok);
    const Bytes wanted = filled(kB, zero ? 0 : 200);
    EXPECT_EQ(rig.read(0, kB), wanted);
    EXPECT_EQ(rig.stats().admitted_blocks, 0u);
    rig.kill(false);
    rig.boot();
    ASSERT_TRUE(rig.attach().ok());
    EXPECT_EQ(rig.read(0, kB), wanted);
  }
}

TEST(Admission, ABadCopyBehindUnshippedDataIsReadFromTheCloud) {
  ColdDisk rig(admitting(policy::AdmissionMode::all));
  // A write waits half a second for company before it is shipped; the copy comes behind it.
  ASSERT_EQ(rig.write(kBlocks * kB, filled(kB, 250)), IoStatus::ok);
  EXPECT_EQ(rig.read(0, kB), filled(kB, ColdDisk::value(0)));
  (void)rig.world().run_for(200 * kMillisecond);
  ASSERT_EQ(rig.stats().admitted_blocks, 1u);
  const auto is_copy = [&](uint64_t page) {
    const sim::PageRef contents = rig.drive().store().peek(page);
    return !contents.null() && contents.data()[0] == std::byte{1} &&
           contents.data()[kB - 1] == std::byte{1};
  };
  ASSERT_EQ(rig.command(IoOp::flush), IoStatus::ok);
  ASSERT_TRUE(rig.drive().corrupt_page(0, nullptr, is_copy));
  ASSERT_GT(rig.stats().dirty_bytes, 0u);
  EXPECT_EQ(rig.read(0, kB), filled(kB, ColdDisk::value(0)));
  EXPECT_EQ(rig.stats().checksum_errors, 1u);
}

TEST(Admission, TheBudgetIsForCopiesOnly) {
  ColdDisk rig(admitting(policy::AdmissionMode::all, policy::kMinWriteBudgetBytes));
  rig.read_all();
  // The first seconds' share of 64 MiB a day is less than a block.
  EXPECT_EQ(rig.host().stats().pool.written.admission, 0u);
  EXPECT_EQ(rig.stats().unadmitted_blocks, kBlocks);
  EXPECT_EQ(rig.write(0, filled(kB, 9)), IoStatus::ok);
  (void)rig.world().run_for(3600 * kSecond);
  EXPECT_EQ(rig.read(0, kB), filled(kB, 9));
  EXPECT_EQ(rig.read(kB, kB), filled(kB, ColdDisk::value(1)));
  rig.settle();
  EXPECT_EQ(rig.stats().admitted_blocks, 1u);
}

TEST(Admission, StreamsPassByAndWhatIsReadAgainStays) {
  ColdDisk rig(admitting(policy::AdmissionMode::s3fifo));
  // The whole disk, 1 MiB in order, twice: the last piece is known to belong to a stream.
  for (int round = 0; round < 2; ++round)
    for (uint64_t at = 0; at < 256; at += 64) (void)rig.read(at * kB, 64 * kB);
  rig.settle();
  EXPECT_GT(rig.stats().stream_blocks, 0u);
}

/// A working set that is read over and over stays, though writes turn the pool over many times.
TEST(Admission, WhatIsHitIsWrittenAgainWhenItsSegmentGoes) {
  ColdDisk rig(admitting(policy::AdmissionMode::all));
  rig.read_all();
  uint64_t misses = 0;
  for (int round = 0; round < 40; ++round) {
    for (uint64_t i = 0; i < 32; ++i)
      ASSERT_EQ(
          rig.write((128 + (static_cast<uint64_t>(round) * 32 + i) % 128) * kB, filled(kB, 77)),
          IoStatus::ok);
    rig.settle();
    misses += rig.hits_and_misses().second;
  }
  const HostStats stats = rig.host().stats();
  EXPECT_GT(stats.pool.written.reinsertion, 0u);
  EXPECT_LT(misses, 40 * kBlocks / 4);
}

}  // namespace
}  // namespace latte::test
