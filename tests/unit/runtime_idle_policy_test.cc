// IdlePolicy: when polling pays, and when it stops.
#include "runtime/idle_policy.h"

#include <gtest/gtest.h>

namespace latte {
namespace {

/// A pause that work ends after `length_ns`, looked at every microsecond; returns how long it was
/// polled.
TimeNs pause(IdlePolicy& policy, TimeNs& now_ns, TimeNs length_ns, size_t events = 1) {
  policy.begin_pause(now_ns);
  const TimeNs start_ns = now_ns, end_ns = now_ns + length_ns;
  while (now_ns < end_ns && policy.poll_on(now_ns)) now_ns += kMicrosecond;
  const TimeNs polled_ns = now_ns - start_ns;
  now_ns = end_ns;
  policy.end_pause(now_ns, events);
  return polled_ns;
}

TEST(IdlePolicy, PollsOnceShortPausesPrevail) {
  IdlePolicy policy(Polling::adaptive);
  TimeNs now_ns = kSecond;
  EXPECT_EQ(pause(policy, now_ns, 40 * kMicrosecond), 0);
  for (int i = 0; i < 20; ++i) pause(policy, now_ns, 40 * kMicrosecond);
  EXPECT_TRUE(policy.polls());
  EXPECT_EQ(pause(policy, now_ns, 40 * kMicrosecond), 40 * kMicrosecond);
}

TEST(IdlePolicy, AnIdleServerStopsAfterFewPauses) {
  IdlePolicy policy(Polling::adaptive);
  TimeNs now_ns = kSecond;
  for (int i = 0; i < 100; ++i) pause(policy, now_ns, 40 * kMicrosecond);
  TimeNs polled_ns = 0;
  for (int i = 0; i < 100; ++i) polled_ns += pause(policy, now_ns, kMillisecond);
  EXPECT_LE(polled_ns, 10 * IdlePolicy::kPollNs);
  EXPECT_EQ(pause(policy, now_ns, kSecond), 0);
}

TEST(IdlePolicy, ALongPauseAmongShortOnesIsPolledThrough) {
  IdlePolicy policy(Polling::adaptive);
  TimeNs now_ns = kSecond;
  for (int i = 0; i < 100; ++i) pause(policy, now_ns, 20 * kMicrosecond);
  for (int i = 0; i < 100; ++i) {
    const TimeNs length_ns = i % 8 == 0 ? 400 * kMicrosecond : 20 * kMicrosecond;
    EXPECT_EQ(pause(policy, now_ns, length_ns), length_ns);
  }
  for (int i = 0; i < 100; ++i) pause(policy, now_ns, i % 2 == 0 ? kMillisecond : kMicrosecond);
  EXPECT_EQ(pause(policy, now_ns, kMicrosecond), 0);
}

TEST(IdlePolicy, ManyEventsAfterALongPauseAreAReasonToPoll) {
  IdlePolicy policy(Polling::adaptive);
  TimeNs now_ns = kSecond;
  for (int i = 0; i < 16; ++i) pause(policy, now_ns, 300 * kMicrosecond, 16);
  EXPECT_EQ(pause(policy, now_ns, 300 * kMicrosecond, 16), 300 * kMicrosecond);
  for (int i = 0; i < 16; ++i) pause(policy, now_ns, 300 * kMicrosecond, 1);
  EXPECT_EQ(pause(policy, now_ns, 300 * kMicrosecond, 1), 0);
}

TEST(IdlePolicy, ManyEventsAfterAPauseTooLongToPollAreNone) {
  IdlePolicy policy(Polling::adaptive);
  TimeNs now_ns = kSecond;
  for (int i = 0; i < 16; ++i) pause(policy, now_ns, kMillisecond, 1000);
  EXPECT_EQ(pause(policy, now_ns, kMillisecond, 1000), 0);
}

TEST(IdlePolicy, WhoLosesTheCoreRests) {
  IdlePolicy policy(Polling::adaptive);
  TimeNs now_ns = kSecond;
  for (int i = 0; i < 100; ++i) pause(policy, now_ns, 40 * kMicrosecond);
  policy.begin_pause(now_ns);
  EXPECT_TRUE(policy.poll_on(now_ns));
  now_ns += 3 * kMillisecond;  // somebody else had it
  EXPECT_FALSE(policy.poll_on(now_ns));
  policy.end_pause(now_ns, 1);
  EXPECT_EQ(pause(policy, now_ns, 40 * kMicrosecond), 0);
  now_ns += 3 * kMillisecond * IdlePolicy::kRestFactor;
  for (int i = 0; i < 8; ++i) pause(policy, now_ns, 40 * kMicrosecond);
  EXPECT_EQ(pause(policy, now_ns, 40 * kMicrosecond), 40 * kMicrosecond);
}

TEST(IdlePolicy, ALongPauseLetsOthersHaveTheCore) {
  IdlePolicy adaptive(Polling::adaptive), always(Polling::always);
  for (IdlePolicy* policy : {&adaptive, &always}) policy->begin_pause(kSecond);
  EXPECT_FALSE(adaptive.yields(kSecond + kMicrosecond));
  EXPECT_TRUE(adaptive.yields(kSecond + 2 * IdlePolicy::kYieldNs));
  EXPECT_FALSE(always.yields(kSecond + kSecond));
}

TEST(IdlePolicy, AlwaysAndNever) {
  IdlePolicy always(Polling::always), never(Polling::never);
  TimeNs now_ns = kSecond;
  EXPECT_EQ(pause(always, now_ns, kSecond / 100), kSecond / 100);
  EXPECT_EQ(pause(always, now_ns, kMicrosecond), kMicrosecond);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(pause(never, now_ns, kMicrosecond), 0);
}

}  // namespace
}  // namespace latte
