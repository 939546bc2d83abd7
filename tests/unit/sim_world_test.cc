// World: order, time, determinism, and a livelock that is found.
#include "sim/sim_world.h"

#include <gtest/gtest.h>

namespace latte::sim {
namespace {

Task<void> tick(SimReactor& reactor, std::vector<TimeNs>& seen, int count) {
  for (int i = 0; i < count; ++i) {
    co_await reactor.sleep(static_cast<TimeNs>(reactor.random().between(1, 1000)));
    seen.push_back(reactor.now());
  }
}

Task<void> spin(SimReactor& reactor) {
  for (;;) co_await reactor.yield();
}

uint64_t run(uint64_t seed, std::vector<TimeNs>& seen) {
  World world(seed);
  SimReactor a(world, "a", 0);
  SimReactor b(world, "b", 5 * kSecond);
  a.spawn(tick(a, seen, 50));
  b.spawn(tick(b, seen, 50));
  EXPECT_EQ(world.run_for(kSecond), World::Stop::time_limit);
  EXPECT_EQ(world.now(), kSecond);
  return world.hash();
}

TEST(SimWorld, OneSeedOneRun) {
  std::vector<TimeNs> first, second, other;
  const uint64_t hash = run(7, first);
  EXPECT_EQ(hash, run(7, second));
  EXPECT_EQ(first, second);
  EXPECT_EQ(first.size(), 100u);
  EXPECT_NE(hash, run(8, other));
  EXPECT_NE(first, other);
}

TEST(SimWorld, FindsALivelock) {
  World world(1);
  SimReactor reactor(world, "a", 0);
  reactor.spawn(spin(reactor));
  EXPECT_EQ(world.run_for(kSecond), World::Stop::livelock);
  EXPECT_EQ(world.now(), 0);
}

TEST(SimWorld, APausedProcessRunsNothing) {
  World world(1);
  SimReactor reactor(world, "a", 0);
  std::vector<TimeNs> seen;
  reactor.spawn(tick(reactor, seen, 3));
  reactor.set_paused(true);
  EXPECT_EQ(world.run_for(kSecond), World::Stop::time_limit);
  EXPECT_TRUE(seen.empty());
  reactor.set_paused(false);
  EXPECT_EQ(world.run_for(kSecond), World::Stop::time_limit);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_GE(seen[0], kSecond);
}

TEST(SimWorld, StepsCanBeCounted) {
  World world(1);
  SimReactor reactor(world, "a", 0);
  std::vector<TimeNs> seen;
  reactor.spawn(tick(reactor, seen, 100));
  EXPECT_EQ(world.run_steps(20, [] { return false; }), World::Stop::step_limit);
  EXPECT_GT(seen.size(), 3u);
  EXPECT_LT(seen.size(), 30u);
}

}  // namespace
}  // namespace latte::sim
