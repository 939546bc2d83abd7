// Read-ahead: that a sequential reader finds its blocks in memory, at fewer requests to the cloud,
// and that what was read ahead is never older than what was written.
#include <gtest/gtest.h>

#include "disk_test_support.h"

namespace latte::test {
namespace {

constexpr uint64_t kB = kBlockBytes;
constexpr uint64_t kBlocks = 512;

DiskOptions two_mebibytes(uint64_t window_bytes) {
  DiskOptions options;
  options.name = "db";
  options.size_bytes = kBlocks * kB;
  options.read_ahead.window_bytes = window_bytes;
  options.read_ahead.stream_blocks = 8;
  return options;
}

/// A disk whose blocks hold their number's last byte, all of them in the base.
class StreamDisk : public DiskRig {
 public:
  explicit StreamDisk(uint64_t window_bytes = 1u << 20,
                      policy::AdmissionMode mode = policy::AdmissionMode::none)
      : DiskRig(two_mebibytes(window_bytes), 1, policy::AdmissionOptions{mode, 0}) {
    for (uint64_t i = 0; i < kBlocks; ++i) {
      EXPECT_EQ(write(i * kB, block(i)), IoStatus::ok);
      if (i % 64 == 63) (void)world().run_for(kSecond);
    }
    Progress progress;
    EXPECT_TRUE(run(disk().drain(&progress)).ok());
    move_to_another_host(*this);
  }
  static Bytes block(uint64_t number) { return filled(kB, static_cast<int>(number % 251)); }
  uint64_t cloud_requests() { return stats().cloud_meter.total().requests; }
  void read_up_to(uint64_t end) {
    for (; at_ < end; ++at_) ASSERT_EQ(read(at_ * kB, kB), block(at_)) << at_;
  }

 private:
  uint64_t at_ = 0;
};

/// Virtual time and requests that reading the whole disk takes.
std::pair<TimeNs, uint64_t> cost_of_reading(StreamDisk& rig) {
  const uint64_t requests = rig.cloud_requests();
  const TimeNs start_ns = rig.world().now();
  rig.read_up_to(kBlocks);
  return {rig.world().now() - start_ns, rig.cloud_requests() - requests};
}

TEST(ReadAhead, AStreamIsFasterAndAsksLessOften) {
  StreamDisk without(0);
  StreamDisk with;
  const auto [slow_ns, many] = cost_of_reading(without);
  const auto [fast_ns, few] = cost_of_reading(with);
  EXPECT_LT(fast_ns * 4, slow_ns);
  EXPECT_LT(few * 16, many);
  EXPECT_EQ(without.stats().ahead_blocks, 0u);
  EXPECT_GT(with.stats().ahead_served_blocks, kBlocks - 16);
  EXPECT_LE(with.stats().ahead_blocks, kBlocks);
  EXPECT_EQ(with.stats().read_miss_blocks, kBlocks);
}

TEST(ReadAhead, WhatIsWrittenMeanwhileIsRead) {
  for (const bool zero : {false, true}) {
    StreamDisk rig;
    rig.read_up_to(16);
    (void)rig.world().run_for(100 * kMillisecond);
    ASSERT_GE(rig.stats().ahead_blocks, 64u);  // blocks 17 and on are in memory
    const IoStatus written =
        zero ? rig.command(IoOp::write_zeroes, 20 * kB, kB) : rig.write(20 * kB, filled(kB, 255));
    ASSERT_EQ(written, IoStatus::ok);
    // Out of the pool as well: the cloud has it, and memory must not answer.
    Progress progress;
    ASSERT_TRUE(rig.run(rig.disk().drain(&progress)).ok());
    EXPECT_EQ(rig.read(20 * kB, kB), filled(kB, zero ? 0 : 255));
    EXPECT_EQ(rig.read(21 * kB, kB), StreamDisk::block(21));
  }
}

TEST(ReadAhead, AWriteWhileItIsFetchedOvertakesIt) {
  StreamDisk rig;
  rig.read_up_to(8);  // the stream is known now; its fetches have just begun
  ASSERT_EQ(rig.write(40 * kB, filled(kB, 255)), IoStatus::ok);
  EXPECT_EQ(rig.read(40 * kB, kB), filled(kB, 255));
  Progress progress;
  ASSERT_TRUE(rig.run(rig.disk().drain(&progress)).ok());
  EXPECT_EQ(rig.read(39 * kB, 2 * kB).back(), std::byte{255});
}

TEST(ReadAhead, WhatNobodyComesForGoes) {
  StreamDisk rig;
  rig.read_up_to(16);
  (void)rig.world().run_for(10 * kSecond);
  const uint64_t served = rig.stats().ahead_served_blocks;
  EXPECT_EQ(rig.read(30 * kB, kB), StreamDisk::block(30));
  EXPECT_EQ(rig.stats().ahead_served_blocks, served);
}

TEST(ReadAhead, NotWhereEveryMissIsAdmitted) {
  StreamDisk rig(1u << 20, policy::AdmissionMode::all);
  rig.read_up_to(kBlocks);
  EXPECT_EQ(rig.stats().ahead_blocks, 0u);
  EXPECT_GT(rig.stats().admitted_blocks, 0u);
}

}  // namespace
}  // namespace latte::test
