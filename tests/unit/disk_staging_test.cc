// Blocks in memory after their first miss: what they save, when they become copies in the pool, and
// that they are never older than what was written. And that what is read by several at once is
// fetched once.
#include <gtest/gtest.h>

#include <map>

#include "disk_test_support.h"

namespace latte::test {
namespace {

constexpr uint64_t kB = kBlockBytes;
constexpr uint64_t kBlocks = 192;

class Leavers : public Staging::Owner {
 public:
  void unstaged(Lba lba, std::span<const std::byte> data, uint32_t reads) override {
    left[lba.value] = {data[0], reads};
  }
  std::map<uint64_t, std::pair<std::byte, uint32_t>> left;
};

TEST(Staging, TheOldestLeavesAndTellsWhatItWasWorth) {
  Staging staging(3);
  Leavers a, b;
  staging.put(a, Lba(1), filled(kB, 11));
  staging.put(b, Lba(1), filled(kB, 21));
  staging.put(a, Lba(2), filled(kB, 12));
  EXPECT_EQ(staging.read(a, Lba(1))[0], std::byte{11});
  EXPECT_EQ(staging.read(b, Lba(1))[0], std::byte{21});
  EXPECT_EQ(staging.read(b, Lba(2)), nullptr);
  staging.put(a, Lba(1), filled(kB, 99));  // there already: stays what and where it is
  EXPECT_EQ(staging.read(a, Lba(1))[0], std::byte{11});
  staging.put(b, Lba(3), filled(kB, 23));
  EXPECT_EQ(a.left.at(1), std::pair(std::byte{11}, 2u));
  EXPECT_EQ(staging.read(a, Lba(1)), nullptr);
  EXPECT_TRUE(b.left.empty());
  EXPECT_EQ(staging.held_blocks(), 3u);
}

TEST(Staging, WhatIsDroppedTellsNobody) {
  for (const uint64_t count : {uint64_t{2}, uint64_t{UINT64_MAX / 2}}) {
    Staging staging(3);
    Leavers a, b;
    staging.put(a, Lba(1), filled(kB, 1));
    staging.put(a, Lba(2), filled(kB, 2));
    staging.put(b, Lba(1), filled(kB, 3));
    staging.drop(a, Lba(1), count);
    EXPECT_EQ(staging.read(a, Lba(1)), nullptr);
    EXPECT_EQ(staging.read(a, Lba(2)), nullptr);
    EXPECT_EQ(staging.read(b, Lba(1))[0], std::byte{3});
    for (uint64_t i = 0; i < 3; ++i) staging.put(a, Lba(10 + i), filled(kB, 4));
    EXPECT_TRUE(a.left.empty());
    EXPECT_EQ(b.left.size(), 1u);
  }
}

policy::AdmissionOptions adaptive(uint64_t staging_bytes = policy::kStagingBytes) {
  policy::AdmissionOptions options;
  options.mode = policy::AdmissionMode::adaptive;
  options.staging_bytes = staging_bytes;
  return options;
}

/// A disk whose blocks hold their number plus one, all of them in the base and none in the pool.
class StagedDisk : public DiskRig {
 public:
  explicit StagedDisk(policy::AdmissionOptions admission = adaptive())
      : DiskRig(defaults(), 1, admission) {
    for (uint64_t i = 0; i < kBlocks; ++i) {
      EXPECT_EQ(write(i * kB, block(i)), IoStatus::ok);
      if (i % 32 == 31) (void)world().run_for(kSecond);
    }
    Progress progress;
    EXPECT_TRUE(run(disk().drain(&progress)).ok());
    move_to_another_host(*this);
  }
  static Bytes block(uint64_t number) { return filled(kB, static_cast<int>(number + 1)); }
  uint64_t misses() { return stats().read_miss_blocks; }
  void settle() { (void)world().run_for(kSecond); }
  void expect(uint64_t number) { ASSERT_EQ(read(number * kB, kB), block(number)) << number; }
  /// Blocks that nobody asked for before and will again push out what is in memory. Backwards: no
  /// stream.
  void push_out(uint64_t count = 70) {
    for (uint64_t i = 0; i < count; ++i) expect(kBlocks - 1 - pushed_++);
    settle();
  }
  /// Starts a read; what it gets is in `out`.
  void start_read(uint64_t number, Bytes& out, std::optional<IoStatus>& status) {
    Task<IoStatus> task = io(&disk(), IoOp::read, number * kB, out, out.size(), false);
    Task<void> body = store(std::move(task), &status);
    reactor().spawn(std::move(body));
  }

 private:
  uint64_t pushed_ = 0;
};

TEST(StagedDisk, ASecondReadCostsTheCloudNothing) {
  StagedDisk rig;
  rig.expect(3);
  rig.expect(3);
  EXPECT_EQ(rig.misses(), 1u);
  EXPECT_EQ(rig.stats().memory_served_blocks, 1u);
  EXPECT_DOUBLE_EQ(rig.stats().read_hit_ratio(), 0.5);
  EXPECT_EQ(rig.host().stats().pool.staged_bytes, kB);
  EXPECT_EQ(rig.host().stats().pool.written.admission, 0u);
}

TEST(StagedDisk, OfALargerReadTheRestIsFetched) {
  StagedDisk rig;
  (void)rig.read(8 * kB, 2 * kB);
  const Bytes got = rig.read(8 * kB, 5 * kB);
  for (uint64_t i = 0; i < 5; ++i)
    EXPECT_EQ(Bytes(got.begin() + static_cast<ptrdiff_t>(i * kB),
                    got.begin() + static_cast<ptrdiff_t>((i + 1) * kB)),
              StagedDisk::block(8 + i));
  EXPECT_EQ(rig.misses(), 5u);
  EXPECT_EQ(rig.stats().memory_served_blocks, 2u);
}

TEST(StagedDisk, ReadTwiceMoreItIsWorthACopyElseItLeavesItsName) {
  StagedDisk rig;
  for (int i = 0; i < 3; ++i) rig.expect(5);
  rig.expect(6);
  rig.push_out();
  const DiskStats before = rig.stats();
  EXPECT_GE(before.admitted_blocks, 1u);
  rig.expect(5);
  EXPECT_EQ(rig.stats().read_hit_blocks, before.read_hit_blocks + 1);
  rig.expect(6);  // known by its name: a copy
  rig.settle();
  EXPECT_EQ(rig.stats().admitted_blocks, before.admitted_blocks + 1);
  rig.expect(6);
  EXPECT_EQ(rig.stats().read_hit_blocks, before.read_hit_blocks + 2);
}

TEST(StagedDisk, WithoutMemoryTheSecondMissIsWorthACopy) {
  StagedDisk rig(adaptive(0));
  rig.expect(5);
  rig.expect(5);
  rig.settle();
  EXPECT_EQ(rig.misses(), 2u);
  EXPECT_GE(rig.stats().admitted_blocks, 1u);
  rig.expect(5);
  EXPECT_EQ(rig.misses(), 2u);
  EXPECT_EQ(rig.host().stats().pool.staged_bytes, 0u);
}

TEST(StagedDisk, WhatIsWrittenMeanwhileIsRead) {
  for (const bool zero : {false, true}) {
    StagedDisk rig;
    for (uint64_t number = 8; number < 12; ++number) rig.expect(number);
    const IoStatus written =
        zero ? rig.command(IoOp::write_zeroes, 9 * kB, kB) : rig.write(9 * kB, filled(kB, 250));
    ASSERT_EQ(written, IoStatus::ok);
    const Bytes wanted = filled(kB, zero ? 0 : 250);
    EXPECT_EQ(rig.read(9 * kB, kB), wanted);
    // Out of the pool as well: the cloud has it, and memory must not answer.
    for (uint64_t i = 0; i < 600; ++i)
      ASSERT_EQ(rig.write((kBlocks + i % 32) * kB, filled(kB, 77)), IoStatus::ok);
    rig.settle();
    const uint64_t hits = rig.stats().read_hit_blocks;
    EXPECT_EQ(rig.read(9 * kB, kB), wanted);
    EXPECT_EQ(rig.stats().read_hit_blocks, hits);
    rig.expect(10);
  }
}

TEST(StagedDisk, AnUnalignedWriteTakesWhatItDoesNotReplaceFromMemory) {
  StagedDisk rig;
  rig.expect(9);
  const uint64_t misses = rig.misses();
  ASSERT_EQ(rig.write(9 * kB + 512, filled(512, 250)), IoStatus::ok);
  EXPECT_EQ(rig.misses(), misses);
  Bytes wanted = StagedDisk::block(9);
  std::fill_n(wanted.begin() + 512, 512, std::byte{250});
  EXPECT_EQ(rig.read(9 * kB, kB), wanted);
}

TEST(StagedDisk, ReadersOfTheSameBlockShareAFetch) {
  StagedDisk rig;
  Bytes first(kB), second(kB), wider(3 * kB);
  std::optional<IoStatus> one, two, three;
  rig.start_read(20, first, one);
  rig.start_read(20, second, two);
  rig.start_read(20, wider, three);
  rig.settle();
  ASSERT_EQ(one, IoStatus::ok);
  ASSERT_EQ(two, IoStatus::ok);
  ASSERT_EQ(three, IoStatus::ok);
  EXPECT_EQ(first, StagedDisk::block(20));
  EXPECT_EQ(second, StagedDisk::block(20));
  EXPECT_EQ(wider.back(), StagedDisk::block(22).back());
  EXPECT_EQ(rig.misses(), 3u);
  EXPECT_EQ(rig.stats().memory_served_blocks, 2u);
}

TEST(StagedDisk, AWriteWhileOthersWaitForTheFetchIsWhatTheyRead) {
  StagedDisk rig;
  Bytes first(kB), late(kB);
  std::optional<IoStatus> one, two;
  rig.start_read(20, first, one);
  ASSERT_EQ(rig.write(20 * kB, filled(kB, 250)), IoStatus::ok);
  ASSERT_FALSE(one.has_value());  // the drive answers long before the cloud
  rig.start_read(20, late, two);
  rig.settle();
  ASSERT_EQ(two, IoStatus::ok);
  EXPECT_EQ(late, filled(kB, 250));
  EXPECT_EQ(rig.read(20 * kB, kB), filled(kB, 250));
}

TEST(StagedDisk, AFetchThatFailsIsOneReadersError) {
  StagedDisk rig;
  rig.cloud().begin_outage(sim::Outage::errors, rig.world().now() + 40 * kSecond);
  Bytes first = filled(kB, 99), second(kB);
  std::optional<IoStatus> one, two;
  rig.start_read(20, first, one);
  rig.start_read(20, second, two);
  (void)rig.world().run_for(35 * kSecond);  // a read is tried for 30 s
  EXPECT_EQ(one, IoStatus::io_error);
  EXPECT_EQ(first, filled(kB, 99)) << "nobody's memory shows where there is no answer";
  EXPECT_FALSE(two.has_value());
  (void)rig.world().run_for(10 * kSecond);
  EXPECT_EQ(two, IoStatus::ok);
  EXPECT_EQ(second, StagedDisk::block(20));
}

}  // namespace
}  // namespace latte::test
