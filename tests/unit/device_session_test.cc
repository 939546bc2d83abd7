// SessionDevice and LeasedVolume in virtual time, against the simulated cloud with a lease.
#include "device/session_device.h"

#include <gtest/gtest.h>

#include <cstring>

#include "disk_test_support.h"

namespace latte {
namespace {

using test::Bytes;
using test::filled;

struct Owner {
  sim::SimReactor reactor;
  sim::SimCloudVolume volume;
  Owner(sim::World& world, sim::SimCloud& cloud, const std::string& name)
      : reactor(world, name, 0), volume(cloud, reactor) {}
  ~Owner() {
    volume.process_death();
    reactor.destroy_tasks();
  }
};

struct Rig {
  sim::World world{7};
  sim::SimCloud cloud;
  explicit Rig(uint32_t sessions = 2) : cloud(world, options(sessions)) {}
  static sim::SimCloudOptions options(uint32_t sessions) {
    sim::SimCloudOptions options;
    options.base_bytes = 4u << 20;
    options.log_bytes = 4u << 20;
    options.lease_ns = 4 * kSecond;
    options.sessions = sessions;
    return options;
  }
  template <typename T>
  T run(Owner& owner, Task<T> task) {
    return test::run(world, owner.reactor, std::move(task));
  }
  Result<void> own(Owner& owner, uint64_t from, uint64_t to) {
    const auto found = run(owner, owner.volume.read_super());
    EXPECT_TRUE(found || found.error().code == Errc::not_found) << found.error().message;
    SuperBytes bytes;
    bytes.fill(static_cast<std::byte>(to));
    return run(owner, owner.volume.swap_super(from, to, bytes));
  }
  IoStatus write(Owner& owner, uint64_t offset, int value, size_t bytes = kBlockBytes) {
    Bytes data = filled(bytes, value);
    return run(owner, test::io(&owner.volume.base(), IoOp::write, offset, data, bytes, false));
  }
  IoStatus flush(Owner& owner) {
    return run(owner, test::io(&owner.volume.base(), IoOp::flush, 0, {}, 0, false));
  }
  /// `owner` has generation 1 and stands still, while `next` takes 2 and writes a 2.
  void own_while_stopped(Owner& owner, Owner& next) {
    owner.reactor.set_paused(true);
    ASSERT_TRUE(own(next, 1, 2));
    ASSERT_EQ(write(next, 0, 2), IoStatus::ok);
    owner.reactor.set_paused(false);
  }
  int durable(uint64_t offset) {
    const sim::PageRef page = cloud.base_store().peek_durable(offset / kBlockBytes);
    return page.null() ? 0 : static_cast<int>(page.data()[0]);
  }
  int read(Owner& owner, uint64_t offset) {
    Bytes data = filled(kBlockBytes, 0xee);
    EXPECT_EQ(
        run(owner, test::io(&owner.volume.base(), IoOp::read, offset, data, kBlockBytes, false)),
        IoStatus::ok);
    return static_cast<int>(data[0]);
  }
};

TEST(SessionDevice, WhatWasAnsweredAndNotFlushedSurvivesTheServiceRestarting) {
  for (const uint32_t sessions : {1u, 2u}) {
    for (int round = 0; round < 20; ++round) {
      Rig rig(sessions);
      Owner owner(rig.world, rig.cloud, "a");
      ASSERT_TRUE(rig.own(owner, 0, 1));
      for (int i = 0; i < 16; ++i)
        ASSERT_EQ(rig.write(owner, static_cast<uint64_t>(i) * kBlockBytes, 1), IoStatus::ok);
      for (int i = 0; i < 16; i += 2)
        ASSERT_EQ(rig.write(owner, static_cast<uint64_t>(i) * kBlockBytes, 2), IoStatus::ok);
      (void)rig.world.run_for(round * kMillisecond);
      rig.cloud.restart();
      ASSERT_EQ(rig.write(owner, 3 * kBlockBytes, 3), IoStatus::ok);
      ASSERT_EQ(rig.flush(owner), IoStatus::ok);
      for (int i = 0; i < 16; ++i)
        EXPECT_EQ(rig.durable(static_cast<uint64_t>(i) * kBlockBytes), i == 3       ? 3
                                                                       : i % 2 == 0 ? 2
                                                                                    : 1);
    }
  }
}

TEST(SessionDevice, SessionsThatBreakAllTheTimeLoseNothing) {
  Rig rig;
  Owner owner(rig.world, rig.cloud, "a");
  ASSERT_TRUE(rig.own(owner, 0, 1));
  rig.cloud.faults().breaks = 50'000;
  std::vector<int> expected(64, 0);
  Random random(3);
  for (int i = 0; i < 400; ++i) {
    const uint64_t block = random.below(expected.size());
    const int value = static_cast<int>(random.between(1, 255));
    IoStatus status = IoStatus::io_error;
    for (int tries = 0; status != IoStatus::ok && tries < 50; ++tries)
      status = rig.write(owner, block * kBlockBytes, value);
    ASSERT_EQ(status, IoStatus::ok);
    expected[block] = value;
    if (i % 7 == 0) {
      const uint64_t other = random.below(expected.size());
      ASSERT_EQ(rig.read(owner, other * kBlockBytes), expected[other]);
    }
    if (i % 40 == 0) rig.cloud.restart();
  }
  rig.cloud.faults().breaks = 0;
  ASSERT_EQ(rig.flush(owner), IoStatus::ok);
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(rig.durable(i * kBlockBytes), expected[i]) << i;
}

TEST(SessionDevice, CopiesAreBoundedByFlushesOfItsOwn) {
  Rig rig;
  Owner owner(rig.world, rig.cloud, "a");
  ASSERT_TRUE(rig.own(owner, 0, 1));
  auto& device = static_cast<SessionDevice&>(owner.volume.base());
  for (uint64_t at = 0; at < (3u << 20); at += 256u << 10) {
    ASSERT_EQ(rig.write(owner, at, 5, 256u << 10), IoStatus::ok);
    EXPECT_LE(device.unflushed_bytes(), (1u << 20) + (256u << 10));
  }
}

TEST(LeasedVolume, ALiveOwnerKeepsItsLeaseAndADeadOneLosesIt) {
  Rig rig;
  Owner next(rig.world, rig.cloud, "b");
  {
    Owner owner(rig.world, rig.cloud, "a");
    ASSERT_TRUE(rig.own(owner, 0, 1));
    const Result<void> refused = rig.own(next, 1, 2);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::busy);
    EXPECT_NE(refused.error().message.find("--force-unfenced"), std::string::npos);
    EXPECT_EQ(rig.write(owner, 0, 1), IoStatus::ok);
  }
  const TimeNs begin_ns = rig.world.now();
  ASSERT_TRUE(rig.own(next, 1, 2));
  EXPECT_GE(rig.world.now() - begin_ns, 4 * kSecond);
  EXPECT_LE(rig.world.now() - begin_ns, 8 * kSecond);
  EXPECT_EQ(rig.write(next, 0, 2), IoStatus::ok);
}

TEST(LeasedVolume, AReleasedLeaseIsNotWaitedFor) {
  Rig rig;
  Owner owner(rig.world, rig.cloud, "a");
  Owner next(rig.world, rig.cloud, "b");
  ASSERT_TRUE(rig.own(owner, 0, 1));
  ASSERT_TRUE(rig.run(owner, owner.volume.release()));
  const TimeNs begin_ns = rig.world.now();
  ASSERT_TRUE(rig.own(next, 1, 2));
  EXPECT_LE(rig.world.now() - begin_ns, 3 * kSecond);
  EXPECT_EQ(rig.write(owner, 0, 1), IoStatus::fenced);
}

TEST(LeasedVolume, TakenByForceTheOldOwnerWritesNothingMore) {
  Rig rig;
  Owner owner(rig.world, rig.cloud, "a");
  Owner next(rig.world, rig.cloud, "b");
  ASSERT_TRUE(rig.own(owner, 0, 1));
  next.volume.force_unfenced();
  ASSERT_TRUE(rig.own(next, 1, 2));
  ASSERT_EQ(rig.write(next, 0, 2), IoStatus::ok);
  EXPECT_EQ(rig.write(owner, 0, 1), IoStatus::fenced);
  EXPECT_TRUE(owner.volume.fenced());
  EXPECT_EQ(rig.read(next, 0), 2);
}

TEST(LeasedVolume, AStoppedOwnerWakesUpToFindItselfFenced) {
  Rig rig;
  Owner owner(rig.world, rig.cloud, "a");
  Owner next(rig.world, rig.cloud, "b");
  ASSERT_TRUE(rig.own(owner, 0, 1));
  rig.own_while_stopped(owner, next);
  EXPECT_EQ(rig.write(owner, 0, 1), IoStatus::fenced);
  EXPECT_EQ(rig.read(next, 0), 2);
}

TEST(LeasedVolume, ALeaseThatRanOutInAnOutageIsClaimedAgain) {
  Rig rig;
  Owner owner(rig.world, rig.cloud, "a");
  ASSERT_TRUE(rig.own(owner, 0, 1));
  rig.cloud.begin_outage(sim::Outage::errors, rig.world.now() + 30 * kSecond);
  EXPECT_EQ(rig.write(owner, 0, 1), IoStatus::io_error);
  // At once, not when something is written: that would have to wait for half a lease.
  (void)rig.world.run_for(33 * kSecond);
  const TimeNs begin_ns = rig.world.now();
  EXPECT_EQ(rig.write(owner, 0, 1), IoStatus::ok);
  EXPECT_LE(rig.world.now() - begin_ns, 100 * kMillisecond);
}

TEST(LeasedVolume, AnIdleOwnerThatWasStoppedNoticesByItself) {
  Rig rig;
  Owner owner(rig.world, rig.cloud, "a");
  Owner next(rig.world, rig.cloud, "b");
  ASSERT_TRUE(rig.own(owner, 0, 1));
  rig.own_while_stopped(owner, next);
  (void)rig.world.run_for(2 * kSecond);
  EXPECT_TRUE(owner.volume.fenced());
}

TEST(LeasedVolume, ReleasedInAnOutageItIsNotWaitedForNorClaimedAgain) {
  for (const sim::Outage how : {sim::Outage::errors, sim::Outage::hang}) {
    for (const TimeNs after_ns : {TimeNs{0}, 10 * kSecond}) {
      Rig rig;
      Owner owner(rig.world, rig.cloud, "a");
      Owner next(rig.world, rig.cloud, "b");
      ASSERT_TRUE(rig.own(owner, 0, 1));
      rig.cloud.begin_outage(how, rig.world.now() + 30 * kSecond);
      (void)rig.world.run_for(after_ns);
      const TimeNs begin_ns = rig.world.now();
      EXPECT_FALSE(rig.run(owner, owner.volume.release()));
      // At once if it has run out, else when it does.
      EXPECT_LE(rig.world.now() - begin_ns,
                after_ns > 0 ? 100 * kMillisecond : 2100 * kMillisecond);
      (void)rig.world.run_for(35 * kSecond);
      EXPECT_TRUE(rig.own(next, 1, 2));
      EXPECT_EQ(rig.write(next, 0, 2), IoStatus::ok);
    }
  }
}

TEST(LeasedVolume, WhoCameTooLateDoesNotKeepTheLease) {
  Rig rig;
  Owner owner(rig.world, rig.cloud, "a");
  Owner late(rig.world, rig.cloud, "b");
  Owner next(rig.world, rig.cloud, "c");
  ASSERT_TRUE(rig.own(owner, 0, 1));
  // b has read generation 1 and watches, when a moves on to 2 and releases.
  std::optional<Result<void>> swapped;
  const auto take = [](Owner* who, std::optional<Result<void>>* out) -> Task<void> {
    SuperBytes bytes{};
    (void)co_await who->volume.read_super();
    Result<void> done = co_await who->volume.swap_super(1, 9, bytes);
    out->emplace(std::move(done));
  };
  late.reactor.spawn(take(&late, &swapped));
  (void)rig.world.run_for(100 * kMillisecond);
  ASSERT_TRUE(rig.own(owner, 1, 2));
  ASSERT_TRUE(rig.run(owner, owner.volume.release()));
  (void)rig.world.run_for(20 * kSecond);
  ASSERT_TRUE(swapped.has_value());
  EXPECT_FALSE(swapped->ok());
  const TimeNs begin_ns = rig.world.now();
  EXPECT_TRUE(rig.own(next, 2, 3));
  EXPECT_LE(rig.world.now() - begin_ns, 3 * kSecond);
}

TEST(LeasedVolume, TwoWhoTakeItAtOnceNeverBothWin) {
  for (uint64_t shift = 0; shift < 30; ++shift) {
    Rig rig;
    Owner first(rig.world, rig.cloud, "a");
    Owner second(rig.world, rig.cloud, "b");
    std::optional<Result<void>> results[2];
    SuperBytes bytes[2];
    bytes[0].fill(std::byte{1});
    bytes[1].fill(std::byte{2});
    const auto take = [](Owner* owner, const SuperBytes* super, TimeNs pause_ns,
                         std::optional<Result<void>>* out) -> Task<void> {
      co_await owner->reactor.sleep(pause_ns);
      (void)co_await owner->volume.read_super();
      Result<void> done = co_await owner->volume.swap_super(0, 1, *super);
      out->emplace(std::move(done));
    };
    first.reactor.spawn(take(&first, &bytes[0], 0, &results[0]));
    second.reactor.spawn(
        take(&second, &bytes[1], static_cast<TimeNs>(shift) * 100 * kMillisecond, &results[1]));
    (void)rig.world.run_until([&] { return results[0] && results[1]; }, 60 * kSecond);
    ASSERT_TRUE(results[0] && results[1]);
    EXPECT_LE(int{results[0]->ok()} + int{results[1]->ok()}, 1) << shift;
  }
}

}  // namespace
}  // namespace latte
