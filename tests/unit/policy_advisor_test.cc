// IopsAdvisor: that it follows the load, both ways, within its bounds, and not at every breath; and
// DrainCost.
#include "policy/iops_advisor.h"

#include <gtest/gtest.h>

#include "policy/drain_cost.h"

namespace latte {
namespace {

constexpr AdvisorLimits kLimits{1000, 16000, 100};

void observe_for(IopsAdvisor& advisor, int seconds, uint64_t iops, TimeNs limited_ns = 0) {
  for (int i = 0; i < seconds; ++i) advisor.observe(iops, limited_ns, kSecond);
}

TEST(IopsAdvisor, AdvisesTheBusySecondsAndAFifthMore) {
  IopsAdvisor advisor(kLimits);
  observe_for(advisor, 3500, 100);
  observe_for(advisor, 100, 5000);
  // 5,000 within the histogram's 3.2 %, rounded up to a hundred.
  const uint64_t advised = advisor.advise(3000);
  EXPECT_GE(advised, 6000u);
  EXPECT_LE(advised, 6300u);
}

TEST(IopsAdvisor, OneSecondInAThousandIsNotPaidForForAMonth) {
  IopsAdvisor advisor(kLimits);
  observe_for(advisor, 3597, 100);
  observe_for(advisor, 3, 15000);
  EXPECT_EQ(advisor.advise(3000), 1000u);
}

TEST(IopsAdvisor, RisesByHalfWhereTheLimitHidTheDemand) {
  IopsAdvisor advisor(kLimits);
  observe_for(advisor, 3500, 500);
  observe_for(advisor, 100, 3000, kSecond / 2);
  EXPECT_EQ(advisor.advise(3000), 4500u);
  // A moment in which two requests met is no reached limit.
  observe_for(advisor, 3500, 500);
  observe_for(advisor, 100, 700, kSecond / 20);
  EXPECT_EQ(advisor.advise(4500), 1000u);
}

TEST(IopsAdvisor, StaysWhereAnotherValueIsHardlyLess) {
  IopsAdvisor advisor(kLimits);
  observe_for(advisor, 3600, 3000);
  const uint64_t first = advisor.advise(3000);
  observe_for(advisor, 3600, 2900);
  EXPECT_EQ(advisor.advise(first), first);
  observe_for(advisor, 3600, 2000);
  EXPECT_LT(advisor.advise(first), first);
}

TEST(IopsAdvisor, KeepsItsBounds) {
  IopsAdvisor advisor(kLimits);
  observe_for(advisor, 100, 500'000, kSecond);
  EXPECT_EQ(advisor.advise(16000), 16000u);
  observe_for(advisor, 100, 0);
  EXPECT_EQ(advisor.advise(16000), 1000u);
  // Nothing was observed, such as in a disk that was away.
  EXPECT_EQ(advisor.advise(7000), 7000u);
  EXPECT_EQ(advisor.advise(20), 1000u);
}

TEST(IopsAdvisor, ALateObservationCountsByItsSpan) {
  IopsAdvisor advisor(kLimits);
  for (int i = 0; i < 200; ++i) advisor.observe(8000, 0, 4 * kSecond);
  const uint64_t advised = advisor.advise(1000);
  EXPECT_GE(advised, 2400u);
  EXPECT_LE(advised, 2500u);
}

TEST(DrainCost, IsAGuessUntilItIsMeasured) {
  DrainCost cost(64u << 10, 1u << 20);
  EXPECT_DOUBLE_EQ(cost.of(1u << 20).operations, 32);
  EXPECT_DOUBLE_EQ(cost.of(1u << 20).bytes, 2.0 * (1u << 20));
  // 4 operations and 1.1 bytes a byte for each MiB.
  for (int i = 1; i <= 20; ++i) cost.on_shipped(1u << 20, {4.0 * i, 1.1 * (1u << 20) * i});
  EXPECT_NEAR(cost.of(1u << 20).operations, 4, 0.1);
  EXPECT_NEAR(cost.of(1u << 20).bytes / (1u << 20), 1.1, 0.01);
}

TEST(DrainCost, WhatIsNewCountsForMore) {
  DrainCost cost(64u << 10, 1u << 20);
  double operations = 0;
  for (int i = 0; i < 20; ++i) cost.on_shipped(1u << 20, {operations += 4, 0});
  // Now the base takes scattered blocks, too.
  for (int i = 0; i < 4; ++i) cost.on_shipped(1u << 20, {operations += 260, 0});
  EXPECT_GT(cost.of(1u << 20).operations, 200);
}

}  // namespace
}  // namespace latte
