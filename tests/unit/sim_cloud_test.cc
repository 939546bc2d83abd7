// SimCloud: fencing at the moment of effect, what an unflushed write may become, outages.
#include "sim/sim_cloud.h"

#include <gtest/gtest.h>

#include <optional>
#include <set>

namespace latte::sim {
namespace {

struct Rig {
  World world;
  SimCloud cloud;
  SimReactor reactor_a, reactor_b;
  std::optional<SimCloudVolume> a, b;
  explicit Rig(uint64_t seed)
      : world(seed),
        cloud(world, options()),
        reactor_a(world, "a", 0),
        reactor_b(world, "b", kSecond) {
    a.emplace(cloud, reactor_a);
    b.emplace(cloud, reactor_b);
  }
  static SimCloudOptions options() {
    SimCloudOptions o;
    o.base_bytes = o.log_bytes = 1 << 20;
    return o;
  }
};

Task<void> write_log(SimCloudVolume& volume, char fill, IoStatus* status) {
  const std::vector<std::byte> data(kBlockBytes, static_cast<std::byte>(fill));
  *status = co_await volume.log().write(0, data);
}
Task<void> flush_log(SimCloudVolume& volume, IoStatus* status) {
  *status = co_await volume.log().flush();
}
Task<void> swap(SimCloudVolume& volume, uint64_t from, uint64_t to, std::optional<Errc>* error,
                bool* done) {
  SuperBytes bytes{};
  bytes[0] = static_cast<std::byte>(to);
  const Result<void> result = co_await volume.swap_super(from, to, bytes);
  if (!result.ok()) *error = result.error().code;
  *done = true;
}
Task<void> read_super(SimCloudVolume& volume, std::optional<Result<SuperBytes>>* result) {
  result->emplace(co_await volume.read_super());
}

std::optional<Errc> swap_now(Rig& rig, SimCloudVolume& volume, SimReactor& reactor, uint64_t from,
                             uint64_t to) {
  std::optional<Errc> error;
  bool done = false;
  reactor.spawn(swap(volume, from, to, &error, &done));
  EXPECT_EQ(rig.world.run_until([&] { return done; }, rig.world.now() + kSecond),
            World::Stop::condition);
  return error;
}
char log_fill(Rig& rig) {
  const PageRef page = rig.cloud.log_store().peek(0);
  if (page.null() || page.data()[0] == std::byte{0}) return '.';
  return static_cast<char>(page.data()[0]);
}

TEST(SimCloud, SuperblockIsComparedAndSwapped) {
  Rig rig(1);
  std::optional<Result<SuperBytes>> super;
  rig.reactor_a.spawn(read_super(*rig.a, &super));
  (void)rig.world.run_for(kSecond);
  ASSERT_TRUE(super.has_value() && !super->ok());
  EXPECT_EQ(super->error().code, Errc::not_found);
  EXPECT_EQ(swap_now(rig, *rig.a, rig.reactor_a, 0, 1), std::nullopt);
  EXPECT_EQ(swap_now(rig, *rig.b, rig.reactor_b, 0, 2), Errc::busy);
  EXPECT_EQ(swap_now(rig, *rig.b, rig.reactor_b, 1, 2), std::nullopt);
  rig.reactor_a.spawn(read_super(*rig.a, &super));
  (void)rig.world.run_for(kSecond);
  ASSERT_TRUE(super->ok());
  EXPECT_EQ(super->value()[0], std::byte{2});
}

TEST(SimCloud, AFencedWriteHasNoEffectEvenIfUnderWay) {
  int fenced = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Rig rig(seed);
    EXPECT_EQ(swap_now(rig, *rig.a, rig.reactor_a, 0, 1), std::nullopt);
    auto slow = SimCloudOptions{}.latency;
    slow.base_ns = 50 * kMillisecond;
    rig.cloud.set_latency(slow);
    auto status = IoStatus::stopped;
    rig.reactor_a.spawn(write_log(*rig.a, 'a', &status));
    (void)rig.world.run_for(kMillisecond);
    rig.cloud.set_latency(SimCloudOptions{}.latency);
    EXPECT_EQ(swap_now(rig, *rig.b, rig.reactor_b, 1, 2), std::nullopt);
    const char at_fence = log_fill(rig);
    (void)rig.world.run_for(kSecond);
    EXPECT_EQ(log_fill(rig), at_fence) << "nothing changes after the fence";
    fenced += status == IoStatus::fenced;
    auto again = IoStatus::stopped;
    rig.reactor_a.spawn(write_log(*rig.a, 'z', &again));
    (void)rig.world.run_for(kSecond);
    EXPECT_EQ(again, IoStatus::fenced);
    EXPECT_EQ(log_fill(rig), at_fence);
  }
  EXPECT_GT(fenced, 20);
}

TEST(SimCloud, UnflushedWritesMayVanishWithTheirHandle) {
  std::set<char> seen_death, seen_fence, seen_flushed;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Rig rig(seed);
    EXPECT_EQ(swap_now(rig, *rig.a, rig.reactor_a, 0, 1), std::nullopt);
    auto status = IoStatus::stopped;
    rig.reactor_a.spawn(write_log(*rig.a, 'a', &status));
    (void)rig.world.run_for(kSecond);
    EXPECT_EQ(status, IoStatus::ok);
    EXPECT_EQ(log_fill(rig), 'a');
    if (seed % 3 == 0) {
      rig.a->process_death();
      seen_death.insert(log_fill(rig));
    } else if (seed % 3 == 1) {
      EXPECT_EQ(swap_now(rig, *rig.b, rig.reactor_b, 1, 2), std::nullopt);
      seen_fence.insert(log_fill(rig));
    } else {
      rig.reactor_a.spawn(flush_log(*rig.a, &status));
      (void)rig.world.run_for(kSecond);
      rig.a->process_death();
      seen_flushed.insert(log_fill(rig));
    }
  }
  EXPECT_EQ(seen_death, (std::set<char>{'.', 'a'}));
  EXPECT_EQ(seen_fence, (std::set<char>{'.', 'a'}));
  EXPECT_EQ(seen_flushed, std::set<char>{'a'});
}

TEST(SimCloud, ALateWriteOfADeadProcessArrivesUnlessFenced) {
  bool arrived = false, refused = false;
  for (uint64_t seed = 0; seed < 80; ++seed) {
    Rig rig(seed);
    EXPECT_EQ(swap_now(rig, *rig.a, rig.reactor_a, 0, 1), std::nullopt);
    auto slow = SimCloudOptions{}.latency;
    slow.base_ns = 50 * kMillisecond;
    rig.cloud.set_latency(slow);
    auto status = IoStatus::stopped;
    rig.reactor_a.spawn(write_log(*rig.a, 'a', &status));
    (void)rig.world.run_for(kMillisecond);
    rig.cloud.set_latency(SimCloudOptions{}.latency);
    rig.a->process_death();
    const char at_death = log_fill(rig);
    if (seed % 2 == 0) {
      EXPECT_EQ(swap_now(rig, *rig.b, rig.reactor_b, 1, 2), std::nullopt);
    }
    (void)rig.world.run_for(kSecond);
    if (seed % 2 == 0) {
      EXPECT_EQ(log_fill(rig), at_death);
      refused |= rig.cloud.fenced_writes() > 0;
    } else {
      arrived |= log_fill(rig) != at_death;
    }
  }
  EXPECT_TRUE(arrived);
  EXPECT_TRUE(refused);
}

TEST(SimCloud, OutagesHangOrFail) {
  Rig rig(4);
  EXPECT_EQ(swap_now(rig, *rig.a, rig.reactor_a, 0, 1), std::nullopt);
  rig.cloud.begin_outage(Outage::hang, rig.world.now() + kSecond);
  auto status = IoStatus::stopped;
  rig.reactor_a.spawn(write_log(*rig.a, 'a', &status));
  (void)rig.world.run_for(kSecond - 1);
  EXPECT_EQ(status, IoStatus::stopped);
  (void)rig.world.run_for(kSecond);
  EXPECT_EQ(status, IoStatus::ok);
  rig.cloud.begin_outage(Outage::errors, rig.world.now() + kSecond);
  rig.reactor_a.spawn(write_log(*rig.a, 'b', &status));
  (void)rig.world.run_for(kSecond / 2);
  EXPECT_EQ(status, IoStatus::io_error);
  (void)rig.world.run_for(kSecond);
  rig.reactor_a.spawn(write_log(*rig.a, 'c', &status));
  (void)rig.world.run_for(kSecond);
  EXPECT_EQ(status, IoStatus::ok);
}

}  // namespace
}  // namespace latte::sim
