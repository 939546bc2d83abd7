// A hybrid disk that becomes larger and smaller: contents, what it gains, refusals, and a crash at
// any step in between.
#include <algorithm>

#include "disk_test_support.h"

namespace latte::test {
namespace {

constexpr uint64_t kB = kBlockBytes;
constexpr uint64_t kSize = 1u << 20;
constexpr uint64_t kBaseBytes = 8 * kSize;

DiskRig make_rig(uint64_t seed = 1) { return DiskRig(DiskRig::defaults(), seed, {}, kBaseBytes); }

Result<void> resize(DiskRig& rig, uint64_t size_bytes, bool force = false) {
  return rig.run(rig.host().resize("db", size_bytes, force));
}

void start_again(DiskRig& rig, bool power) {
  rig.kill(power);
  rig.boot();
  const auto attached = rig.attach();
  ASSERT_TRUE(attached.ok()) << attached.error().message;
}

TEST(Resize, WhatADiskGainsReadsAsZeroesAndTakesData) {
  auto rig = make_rig();
  ASSERT_EQ(rig.write(kSize - kB, filled(kB, 3)), IoStatus::ok);
  ASSERT_EQ(rig.write(kSize, filled(kB, 4)), IoStatus::invalid);
  // What an image that is larger than the disk holds there must not be seen.
  Bytes old = filled(kB, 99);
  ASSERT_EQ(rig.run(io(&rig.volume().base(), IoOp::write, kSize, old, kB, false)), IoStatus::ok);
  ASSERT_TRUE(resize(rig, 3 * kSize).ok());
  EXPECT_EQ(rig.disk().info().size_bytes, 3 * kSize);
  EXPECT_EQ(rig.read(kSize, 2 * kSize), filled(2 * kSize, 0));
  EXPECT_EQ(rig.write(3 * kSize - kB, filled(kB, 5), true), IoStatus::ok);
  EXPECT_EQ(rig.write(3 * kSize, filled(kB, 4)), IoStatus::invalid);
  start_again(rig, true);
  EXPECT_EQ(rig.disk().info().size_bytes, 3 * kSize);
  EXPECT_EQ(rig.read(kSize, 2 * kSize - kB), filled(2 * kSize - kB, 0));
  EXPECT_EQ(rig.read(3 * kSize - kB, kB), filled(kB, 5));
  EXPECT_EQ(rig.read(kSize - kB, kB), filled(kB, 3));
  ASSERT_TRUE(rig.run(rig.host().drain("db", nullptr)).ok());
  move_to_another_host(rig);
  EXPECT_EQ(rig.disk().info().size_bytes, 3 * kSize);
  EXPECT_EQ(rig.read(3 * kSize - kB, kB), filled(kB, 5));
}

TEST(Resize, ABaseThatCantGrowIsSaid) {
  auto rig = make_rig();
  const auto grown = resize(rig, kBaseBytes + kB);
  ASSERT_FALSE(grown.ok());
  EXPECT_EQ(grown.error().code, Errc::unsupported);
  EXPECT_NE(grown.error().message.find("it keeps its 1048576 bytes"), std::string::npos);
  EXPECT_EQ(rig.disk().info().size_bytes, kSize);
}

TEST(Resize, SizesThatAreNoneAreRefused) {
  auto rig = make_rig();
  for (const uint64_t size : {uint64_t{0}, kSize + 512, log::kMaxDiskBytes + kB, ~uint64_t{0}})
    EXPECT_EQ(resize(rig, size, true).error().code, Errc::invalid) << size;
  EXPECT_TRUE(resize(rig, kSize).ok());
  EXPECT_EQ(rig.run(rig.host().resize("other", kSize, false)).error().code, Errc::not_found);
}

TEST(Resize, DataBehindTheNewEndIsNotLostByAccident) {
  auto rig = make_rig();
  ASSERT_EQ(rig.write(kSize / 2, filled(kB, 1)), IoStatus::ok);
  for (const bool drained : {false, true}) {
    if (drained) {
      ASSERT_TRUE(rig.run(rig.host().drain("db", nullptr)).ok());
    }
    const auto refused = resize(rig, kSize / 2);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Errc::invalid);
    EXPECT_NE(refused.error().message.find("--force"), std::string::npos);
  }
  EXPECT_EQ(rig.read(kSize / 2, kB), filled(kB, 1));
  ASSERT_TRUE(resize(rig, kSize / 2 + kB).ok());
  ASSERT_EQ(rig.command(IoOp::discard, kSize / 2, kB), IoStatus::ok);
  ASSERT_TRUE(resize(rig, kSize / 2).ok());
  EXPECT_EQ(rig.write(kSize / 2, filled(kB, 1)), IoStatus::invalid);
  EXPECT_EQ(rig.write(kSize / 2 - kB, filled(kB, 1)), IoStatus::ok);
}

TEST(Resize, WhatWasCutOffNeverComesBack) {
  for (const bool drained : {false, true}) {
    for (int way = 0; way < 4; ++way) {
      auto rig = make_rig();
      ASSERT_EQ(rig.write(0, filled(kSize, 7)), IoStatus::ok);
      ASSERT_EQ(rig.command(IoOp::flush), IoStatus::ok);
      if (drained) {
        ASSERT_TRUE(rig.run(rig.host().drain("db", nullptr)).ok());
      }
      ASSERT_TRUE(resize(rig, kSize / 4, true).ok());
      if (way == 1) start_again(rig, true);
      if (way == 2) start_again(rig, false);
      if (way == 3) move_to_another_host(rig);
      ASSERT_EQ(rig.disk().info().size_bytes, kSize / 4);
      ASSERT_TRUE(resize(rig, 2 * kSize).ok());
      EXPECT_EQ(rig.read(kSize / 4, 2 * kSize - kSize / 4), filled(2 * kSize - kSize / 4, 0));
      start_again(rig, way % 2 == 0);
      EXPECT_EQ(rig.read(kSize / 4, 2 * kSize - kSize / 4), filled(2 * kSize - kSize / 4, 0));
      move_to_another_host(rig);
      EXPECT_EQ(rig.read(kSize / 4, 2 * kSize - kSize / 4), filled(2 * kSize - kSize / 4, 0));
    }
  }
}

TEST(Resize, RequestsUnderWayEndBeforeTheDiskIsSmaller) {
  auto rig = make_rig();
  std::vector<Bytes> data(16, filled(kB, 8));
  std::vector<std::optional<IoStatus>> results(16);
  for (size_t i = 0; i < data.size(); ++i) {
    Task<void> task =
        store(io(&rig.disk(), IoOp::write, kSize - (i + 1) * kB, data[i], kB, false), &results[i]);
    rig.reactor().spawn(std::move(task));
  }
  // They had been taken when it began; what was free is in use then.
  const auto shrunk = resize(rig, kSize / 2);
  for (const auto& result : results) EXPECT_EQ(result.value_or(IoStatus::stopped), IoStatus::ok);
  ASSERT_FALSE(shrunk.ok());
  EXPECT_EQ(shrunk.error().code, Errc::invalid);
  EXPECT_EQ(rig.disk().info().size_bytes, kSize);
  EXPECT_EQ(rig.read(kSize - kB, kB), filled(kB, 8));
}

TEST(Resize, ACloudThatIsAwayLeavesTheSize) {
  auto rig = make_rig();
  ASSERT_EQ(rig.write(0, filled(kB, 1)), IoStatus::ok);
  rig.cloud().begin_outage(sim::Outage::errors, rig.world().now() + 60 * kSecond);
  const auto shrunk = resize(rig, kSize / 2, true);
  ASSERT_FALSE(shrunk.ok());
  EXPECT_NE(shrunk.error().message.find("not known"), std::string::npos);
  // Smaller to be safe: what was written there now might be cut off.
  EXPECT_EQ(rig.disk().info().size_bytes, kSize / 2);
  EXPECT_EQ(rig.write(kB, filled(kB, 2)), IoStatus::ok);
  (void)rig.world().run_for(70 * kSecond);
  ASSERT_TRUE(resize(rig, kSize).ok());
  EXPECT_EQ(rig.read(0, kB), filled(kB, 1));
  EXPECT_EQ(rig.read(kSize / 2, kSize / 2), filled(kSize / 2, 0));
}

/// A kill at each of many steps of `from` -> `to`: one of the two sizes, and the contents.
void crash_everywhere(uint64_t from, uint64_t to, bool power) {
  for (uint64_t steps = 1;; steps += 1 + steps / 16) {
    SCOPED_TRACE(steps);
    auto rig = make_rig(steps);
    ASSERT_TRUE(resize(rig, from, true).ok());
    ASSERT_EQ(rig.write(0, filled(from, 6)), IoStatus::ok);
    ASSERT_EQ(rig.command(IoOp::flush), IoStatus::ok);
    if (steps % 2 == 0) (void)rig.world().run_for(3 * kSecond);
    std::optional<Result<void>> done;
    const std::string name = "db";
    Task<void> task = store(rig.host().resize(name, to, true), &done);
    rig.reactor().spawn(std::move(task));
    (void)rig.world().run_steps(steps, [&] { return done.has_value(); });
    const bool ended = done.has_value();
    done.reset();
    start_again(rig, power);
    const uint64_t now = rig.disk().info().size_bytes;
    ASSERT_TRUE(now == to || (now == from && !ended)) << now;
    const uint64_t kept = std::min({now, from, to});
    ASSERT_EQ(rig.read(0, kept), filled(kept, 6));
    if (now == from) {
      ASSERT_EQ(rig.read(0, from), filled(from, 6));
    }
    ASSERT_TRUE(resize(rig, 4 * kSize).ok());
    ASSERT_EQ(rig.read(now, 4 * kSize - now), filled(4 * kSize - now, 0));
    start_again(rig, !power);
    ASSERT_EQ(rig.read(now, 4 * kSize - now), filled(4 * kSize - now, 0));
    ASSERT_EQ(rig.read(0, kept), filled(kept, 6));
    if (ended) return;
  }
}

TEST(Resize, ACrashWhileItGrowsLeavesOneOfTheTwoSizes) {
  crash_everywhere(kSize / 2, 2 * kSize, false);
  crash_everywhere(kSize / 2, 2 * kSize, true);
}

TEST(Resize, ACrashWhileItShrinksLeavesOneOfTheTwoSizes) {
  crash_everywhere(kSize, kSize / 4, false);
  crash_everywhere(kSize, kSize / 4, true);
}

TEST(Resize, APoolThatFailsMeanwhileDoesNotUndoIt) {
  for (uint64_t steps = 1; steps < 4000; steps += 1 + steps / 8) {
    SCOPED_TRACE(steps);
    auto rig = make_rig(steps);
    ASSERT_EQ(rig.write(0, filled(kSize, 6)), IoStatus::ok);
    (void)rig.world().run_for(10 * kSecond);  // all of it is in the cloud
    std::optional<Result<void>> done;
    const std::string name = "db";
    Task<void> task = store(rig.host().resize(name, 2 * kSize, false), &done);
    rig.reactor().spawn(std::move(task));
    (void)rig.world().run_steps(steps, [&] { return done.has_value(); });
    const bool ended = done.has_value();
    rig.drive().die();
    // Who writes finds out.
    EXPECT_EQ(rig.write(0, filled(kB, 7)), IoStatus::ok);
    (void)rig.world().run_for(60 * kSecond);
    ASSERT_TRUE(done.has_value());
    const uint64_t size = rig.disk().info().size_bytes;
    ASSERT_EQ(size, done->ok() ? 2 * kSize : kSize);
    ASSERT_EQ(rig.disk().stats().state, "degraded");
    done.reset();
    move_to_another_host(rig);
    ASSERT_EQ(rig.disk().info().size_bytes, size);
    if (ended) return;
  }
}

}  // namespace
}  // namespace latte::test
