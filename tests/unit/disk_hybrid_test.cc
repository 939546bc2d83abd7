// HybridDisk in virtual time: what each request does, and what it promises.
#include <gtest/gtest.h>

#include "disk_test_support.h"

namespace latte::test {
namespace {

constexpr uint64_t kB = kBlockBytes;

TEST(HybridDisk, ReadsBackWhatWasWrittenAndZeroesElsewhere) {
  DiskRig rig;
  EXPECT_EQ(rig.write(3 * kB, filled(2 * kB, 7)), IoStatus::ok);
  const Bytes got = rig.read(0, 8 * kB);
  Bytes expected(8 * kB);
  std::fill_n(expected.begin() + 3 * kB, 2 * kB, std::byte{7});
  EXPECT_EQ(got, expected);
}

TEST(HybridDisk, SectorsChangeNothingBesideThem) {
  DiskRig rig;
  ASSERT_EQ(rig.write(0, filled(3 * kB, 1)), IoStatus::ok);
  ASSERT_EQ(rig.write(kB - 512, filled(1024, 2)), IoStatus::ok);  // the edge of two blocks
  ASSERT_EQ(rig.write(2 * kB + 1024, filled(512, 3)), IoStatus::ok);
  Bytes expected = filled(3 * kB, 1);
  std::fill_n(expected.begin() + kB - 512, 1024, std::byte{2});
  std::fill_n(expected.begin() + 2 * kB + 1024, 512, std::byte{3});
  EXPECT_EQ(rig.read(0, 3 * kB), expected);
  EXPECT_EQ(rig.read(kB - 512, 1024), filled(1024, 2));
}

TEST(HybridDisk, SectorWritesToOneBlockAtATimeAllArrive) {
  DiskRig rig;
  std::vector<Bytes> data;
  std::vector<std::optional<IoStatus>> done(8);
  for (int i = 0; i < 8; ++i) data.push_back(filled(512, i + 1));
  for (size_t i = 0; i < 8; ++i) {
    Task<IoStatus> task = io(&rig.disk(), IoOp::write, i * 512, data[i], 512, false);
    Task<void> body = store(std::move(task), &done[i]);
    rig.reactor().spawn(std::move(body));
  }
  (void)rig.world().run_for(kSecond);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(done[i], IoStatus::ok);
    EXPECT_EQ(rig.read(i * 512, 512), data[i]);
  }
}

TEST(HybridDisk, PartialWritesThatWaitForOneAnotherAllEndInTheirOrder) {
  // Chains and knots of overlaps: each must be woken by all that were in its way.
  constexpr size_t kWrites = 300;
  constexpr uint64_t kSectors = 64;
  DiskRig rig;
  Random random(5);
  Bytes expected(kSectors * 512);
  std::vector<Bytes> data;
  std::vector<std::optional<IoStatus>> done(kWrites);
  data.reserve(kWrites);
  for (size_t i = 0; i < kWrites; ++i) {
    const uint64_t first = random.below(kSectors - 1);
    const uint64_t count = 1 + random.below(std::min<uint64_t>(30, kSectors - first));
    data.push_back(filled(count * 512, static_cast<int>(i % 250) + 1));
    std::copy(data[i].begin(), data[i].end(), expected.begin() + static_cast<long>(first * 512));
    Task<IoStatus> task = io(&rig.disk(), IoOp::write, first * 512, data[i], data[i].size(), false);
    Task<void> body = store(std::move(task), &done[i]);
    rig.reactor().spawn(std::move(body));
  }
  (void)rig.world().run_for(10 * kSecond);
  for (size_t i = 0; i < kWrites; ++i) EXPECT_EQ(done[i], IoStatus::ok) << i;
  EXPECT_EQ(rig.read(0, expected.size()), expected);
}

TEST(HybridDisk, DiscardAndWriteZeroesReadAsZeroes) {
  DiskRig rig;
  for (const IoOp op : {IoOp::discard, IoOp::write_zeroes}) {
    ASSERT_EQ(rig.write(0, filled(6 * kB, 1)), IoStatus::ok);
    ASSERT_EQ(rig.command(op, kB - 512, 3 * kB), IoStatus::ok);  // not on block edges
    Bytes expected = filled(6 * kB, 1);
    std::fill_n(expected.begin() + kB - 512, 3 * kB, std::byte{0});
    EXPECT_EQ(rig.read(0, 6 * kB), expected);
  }
  EXPECT_EQ(rig.command(IoOp::discard, 0, 1u << 20), IoStatus::ok);
  EXPECT_EQ(rig.read(0, 6 * kB), Bytes(6 * kB));
}

TEST(HybridDisk, RequestsBeyondItsEndOrBetweenSectorsAreInvalid) {
  DiskRig rig;
  const uint64_t size = rig.disk().info().size_bytes;
  IoStatus status = IoStatus::ok;
  (void)rig.read(size, 512, &status);
  EXPECT_EQ(status, IoStatus::invalid);
  (void)rig.read(size - 512, 1024, &status);
  EXPECT_EQ(status, IoStatus::invalid);
  (void)rig.read(0, 100, &status);
  EXPECT_EQ(status, IoStatus::invalid);
  EXPECT_EQ(rig.write(100, filled(512, 1)), IoStatus::invalid);
  EXPECT_EQ(rig.write(UINT64_MAX - 511, filled(512, 1)), IoStatus::invalid);
  EXPECT_EQ(rig.command(IoOp::discard, size, 512), IoStatus::invalid);
  EXPECT_EQ(rig.read(size - 512, 512, &status).size(), 512u);
}

TEST(HybridDisk, AFlushedWriteSurvivesThePower) {
  for (const bool fua : {false, true}) {
    DiskRig rig;
    ASSERT_EQ(rig.write(5 * kB, filled(kB, 9), fua), IoStatus::ok);
    if (!fua) {
      ASSERT_EQ(rig.command(IoOp::flush), IoStatus::ok);
    }
    rig.kill(true);
    rig.boot();
    ASSERT_TRUE(rig.attach().ok());
    EXPECT_EQ(rig.read(5 * kB, kB), filled(kB, 9));
  }
}

TEST(HybridDisk, AnAcknowledgedWriteSurvivesTheProcess) {
  DiskRig rig;
  ASSERT_EQ(rig.write(5 * kB, filled(kB, 9)), IoStatus::ok);
  rig.kill(false);
  rig.boot();
  ASSERT_TRUE(rig.attach().ok());
  EXPECT_EQ(rig.read(5 * kB, kB), filled(kB, 9));
}

TEST(HybridDisk, CloudDurabilityFlushesIntoTheCloud) {
  DiskOptions options = DiskRig::defaults();
  options.durability = Durability::cloud;
  DiskRig rig(options);
  ASSERT_EQ(rig.write(0, filled(kB, 4)), IoStatus::ok);
  ASSERT_EQ(rig.command(IoOp::flush), IoStatus::ok);
  // The host is lost; another one, with an empty pool, takes over.
  rig.kill(true);
  rig.make_drive();
  rig.boot();
  EXPECT_EQ(rig.attach().error().code, Errc::not_owner);
  std::string report;
  ASSERT_TRUE(rig.run(rig.host().take_over(rig.options(), rig.volume(), &report)).ok());
  EXPECT_NE(report.find("generation"), std::string::npos);
  ASSERT_TRUE(rig.attach().ok());
  EXPECT_EQ(rig.read(0, kB), filled(kB, 4));
}

TEST(HybridDisk, DrainPutsEverythingIntoTheBase) {
  DiskRig rig;
  ASSERT_EQ(rig.write(0, filled(16 * kB, 5)), IoStatus::ok);
  ASSERT_EQ(rig.command(IoOp::discard, kB, kB), IoStatus::ok);
  ASSERT_TRUE(rig.run(rig.host().drain("db", nullptr)).ok());
  EXPECT_EQ(rig.host().stats().disks.front().dirty_bytes, 0u);
  EXPECT_EQ(rig.host().stats().disks.front().unapplied_bytes, 0u);
  Bytes base(16 * kB);
  EXPECT_EQ(rig.run(io(&rig.volume().base(), IoOp::read, 0, base, base.size(), false)),
            IoStatus::ok);
  Bytes expected = filled(16 * kB, 5);
  std::fill_n(expected.begin() + kB, kB, std::byte{0});
  EXPECT_EQ(base, expected);
}

TEST(HybridDisk, ADiskLargerThanItsPoolKeepsAllOfIt) {
  DiskOptions options = DiskRig::defaults();
  options.size_bytes = 4u << 20;  // the pool has 1.5 MiB, the cloud log 1.25
  DiskRig rig(options);
  for (uint64_t i = 0; i < 64; ++i)
    ASSERT_EQ(rig.write(i << 16, filled(1u << 16, static_cast<int>(i + 1))), IoStatus::ok);
  for (uint64_t i = 0; i < 64; ++i)
    ASSERT_EQ(rig.read(i << 16, 1u << 16), filled(1u << 16, static_cast<int>(i + 1))) << i;
}

TEST(HybridDisk, ACloudThatIsAwayDoesNotStopTheDisk) {
  DiskRig rig;
  ASSERT_EQ(rig.write(0, filled(kB, 1)), IoStatus::ok);
  rig.cloud().begin_outage(sim::Outage::hang, rig.world().now() + 60 * kSecond);
  (void)rig.world().run_for(5 * kSecond);
  EXPECT_EQ(rig.write(kB, filled(kB, 2)), IoStatus::ok);
  EXPECT_EQ(rig.command(IoOp::flush), IoStatus::ok);
  EXPECT_EQ(rig.read(0, kB), filled(kB, 1));
  EXPECT_LT(rig.world().now(), 10 * kSecond);
  (void)rig.world().run_for(70 * kSecond);
  EXPECT_EQ(rig.host().stats().disks.front().state, "online");
  EXPECT_EQ(rig.host().stats().disks.front().dirty_bytes, 0u);
}

TEST(HybridDisk, APoolThatDiesLeavesADiskThatRunsFromTheCloud) {
  DiskRig rig;
  ASSERT_EQ(rig.write(0, filled(kB, 1)), IoStatus::ok);
  (void)rig.world().run_for(10 * kSecond);  // shipped
  rig.drive().die();
  EXPECT_EQ(rig.read(0, kB), filled(kB, 1));
  EXPECT_EQ(rig.write(kB, filled(kB, 2)), IoStatus::ok);
  EXPECT_EQ(rig.command(IoOp::flush), IoStatus::ok);
  EXPECT_EQ(rig.read(kB, kB), filled(kB, 2));
  EXPECT_EQ(rig.host().stats().disks.front().state, "degraded");
}

TEST(HybridDisk, ABadBlockInThePoolIsReadFromTheCloud) {
  DiskRig rig;
  for (uint64_t i = 0; i < 20; ++i)
    ASSERT_EQ(rig.write(i * kB, filled(kB, static_cast<int>(i + 1))), IoStatus::ok);
  ASSERT_EQ(rig.command(IoOp::flush), IoStatus::ok);
  (void)rig.world().run_for(10 * kSecond);
  const auto holds_data = [&](uint64_t page) {
    const sim::PageRef contents = rig.drive().store().peek(page);
    return !contents.null() && contents.data()[0] == contents.data()[kB - 1] &&
           contents.data()[0] != std::byte{0};
  };
  ASSERT_TRUE(rig.drive().corrupt_page(0, nullptr, holds_data));
  for (uint64_t i = 0; i < 20; ++i)
    EXPECT_EQ(rig.read(i * kB, kB), filled(kB, static_cast<int>(i + 1)));
  EXPECT_EQ(rig.host().stats().disks.front().checksum_errors, 1u);
}

TEST(HybridDisk, AStoppedDiskRefusesRequests) {
  DiskRig rig;
  ASSERT_EQ(rig.write(0, filled(kB, 1)), IoStatus::ok);
  ASSERT_TRUE(rig.run(rig.host().stop()).ok());
  IoStatus status = IoStatus::ok;
  (void)rig.read(0, kB, &status);
  EXPECT_EQ(status, IoStatus::stopped);
  EXPECT_EQ(rig.write(0, filled(kB, 1)), IoStatus::stopped);
}

/// Flips bits of each block on the drive that was filled with `value`, and of `before` blocks
/// before it: of its record's header.
void corrupt_blocks_of(DiskRig& rig, int value, uint64_t before = 0) {
  auto& store = rig.drive().store();
  for (uint64_t page = 0; page < store.size_bytes() / kB; ++page) {
    const sim::PageRef contents = store.peek(page);
    if (contents.null() || contents.data()[0] != std::byte(value)) continue;
    if (contents.data()[kB - 1] != std::byte(value)) continue;
    for (uint64_t i = 0; i <= before; ++i) store.corrupt(page - i, rig.world().random());
  }
}

/// A pool with an old version of block 0 and a newer one that is in the base, and in no cloud log.
void write_twice(DiskRig& rig) {
  ASSERT_EQ(rig.write(0, filled(kB, 1)), IoStatus::ok);
  (void)rig.world().run_for(10 * kSecond);
  ASSERT_EQ(rig.write(0, filled(kB, 2)), IoStatus::ok);
  Progress progress;
  ASSERT_TRUE(rig.run(rig.host().drain("db", &progress)).ok());
  rig.kill(false);
}

TEST(HybridDisk, APoolWithADamagedLastRecordServesNothingOlder) {
  DiskRig rig;
  write_twice(rig);
  corrupt_blocks_of(rig, 2);
  rig.boot();
  ASSERT_TRUE(rig.attach().ok());
  EXPECT_EQ(rig.read(0, kB), filled(kB, 2));
}

TEST(HybridDisk, APoolThatLostItsFlushedEndIsRefused) {
  DiskRig rig;
  write_twice(rig);
  corrupt_blocks_of(rig, 2, 1);
  rig.boot();
  const auto attached = rig.attach();  // there may have been more, which the cloud does not have
  ASSERT_FALSE(attached.ok());
  EXPECT_EQ(attached.error().code, Errc::damaged);
  EXPECT_NE(attached.error().message.find("takeover"), std::string::npos);
}

TEST(HybridDisk, WhatGoesBadBehindACleanStopIsAnErrorAndNeverAnOlderVersion) {
  DiskRig rig;
  ASSERT_EQ(rig.write(0, filled(kB, 1)), IoStatus::ok);
  (void)rig.world().run_for(10 * kSecond);
  ASSERT_EQ(rig.write(0, filled(kB, 2)), IoStatus::ok);
  ASSERT_EQ(rig.command(IoOp::flush), IoStatus::ok);
  ASSERT_TRUE(rig.run(rig.host().stop()).ok());
  ASSERT_GT(rig.host().stats().disks.front().dirty_bytes, 0u);  // the pool has the only copy
  rig.kill(true);
  corrupt_blocks_of(rig, 2);
  rig.boot();
  ASSERT_TRUE(rig.attach().ok());
  IoStatus status = IoStatus::ok;
  (void)rig.read(0, kB, &status);
  EXPECT_NE(status, IoStatus::ok);
}

TEST(HybridDisk, ConfigurationMustMatchTheVolume) {
  DiskRig rig;
  rig.kill(false);
  rig.boot();
  DiskOptions larger = rig.options();
  larger.size_bytes *= 2;
  const auto attached = rig.run(rig.host().attach(larger, rig.volume()));
  ASSERT_FALSE(attached.ok());
  EXPECT_EQ(attached.error().code, Errc::invalid);
  EXPECT_NE(attached.error().message.find("true size"), std::string::npos);
}

}  // namespace
}  // namespace latte::test
