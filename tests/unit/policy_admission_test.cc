// What decides about copies of cloud blocks, fed with numbers: no I/O, no clock.
#include <gtest/gtest.h>

#include "policy/admission.h"
#include "policy/ghost_names.h"
#include "policy/rivals.h"
#include "policy/round_tuner.h"
#include "policy/shadow_log.h"
#include "policy/stream_detector.h"
#include "policy/write_budget.h"

namespace latte::policy {
namespace {

constexpr TimeNs kDayNs = 24 * 3600 * kSecond;

TEST(GhostNames, ANameIsKnownOnce) {
  GhostNames names(1000);
  EXPECT_FALSE(names.take(7));
  names.keep(7);
  EXPECT_TRUE(names.take(7));
  EXPECT_FALSE(names.take(7));
}

TEST(GhostNames, TheLatestNamesAreKeptAndTheOldestGo) {
  constexpr uint64_t kNames = 100'000;
  GhostNames names(kNames);
  for (uint64_t key = 0; key < 3 * kNames; ++key) names.keep(key);
  // Buckets fill unevenly: of the latest half nearly all are there, of what came a whole round
  // before the latest third nearly nothing.
  uint64_t late = 0, early = 0, never = 0;
  for (uint64_t key = 0; key < kNames / 2; ++key) {
    late += names.take(3 * kNames - 1 - key) ? 1 : 0;
    early += names.take(key) ? 1 : 0;
    never += names.take((1ull << 40) + key) ? 1 : 0;
  }
  EXPECT_GT(late, kNames / 2 * 96 / 100);
  EXPECT_LT(early, kNames / 2 / 100);
  EXPECT_LT(never, kNames / 2 / 1000);
  EXPECT_LE(names.memory_bytes(), kNames * 22 / 10);
}

TEST(StreamDetector, AStreamIsOneAfterAMebibyte) {
  StreamDetector streams;
  uint64_t at = 5000;
  for (; at < 5000 + 240; at += 16) EXPECT_FALSE(streams.observe(Lba(at), 16).stream);
  EXPECT_TRUE(streams.observe(Lba(at), 16).stream);
  EXPECT_FALSE(streams.observe(Lba(900'000), 16).stream);  // another place
  EXPECT_TRUE(streams.observe(Lba(at + 16), 16).stream);   // the stream goes on
}

TEST(StreamDetector, RequestsMayArriveOutOfOrder) {
  StreamDetector streams;
  bool in_stream = false;
  for (uint64_t at = 0; at < 1024; at += 32) {
    in_stream = streams.observe(Lba(at + 16), 16).stream;
    in_stream &= streams.observe(Lba(at), 16).stream;
  }
  EXPECT_TRUE(in_stream);
}

TEST(StreamDetector, ReadsWithinASmallRangeAreNoStream) {
  StreamDetector streams;
  for (uint64_t i = 0; i < 10'000; ++i) EXPECT_FALSE(streams.observe(Lba(i * 37 % 100), 1).stream);
}

TEST(StreamDetector, SixteenStreamsAtATime) {
  StreamDetector streams;
  for (uint64_t at = 0; at < 512; at += 32)
    for (uint64_t stream = 0; stream < StreamDetector::kStreams; ++stream) {
      const bool found = streams.observe(Lba(stream * 1'000'000 + at), 32).stream;
      EXPECT_EQ(found, at + 32 >= StreamDetector::kLeastBlocks);
    }
}

TEST(WriteBudget, IsAHardLimitOfADay) {
  constexpr uint64_t kBudget = 1ull << 30;
  WriteBudget budget(kBudget);
  EXPECT_FALSE(budget.take(4096, 5 * kSecond));  // nothing has flowed in yet
  // As much as it gives, first in one go after a night, then all day long.
  uint64_t spent = 0;
  const TimeNs morning = kDayNs;
  for (TimeNs now = morning; now <= morning + kDayNs; now += kDayNs / 10'000)
    while (budget.take(4096, now)) spent += 4096;
  EXPECT_LE(spent, kBudget);
  EXPECT_GT(spent, kBudget * 99 / 100);
}

TEST(WriteBudget, NoneIsNoLimit) {
  WriteBudget budget(0);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(budget.take(1ull << 40, 0));
}

TEST(Admission, ModesAndTheirNames) {
  for (const char* name : {"none", "all", "s3fifo", "adaptive"})
    EXPECT_TRUE(admission_mode(name)) << name;
  EXPECT_FALSE(admission_mode("lru"));
  EXPECT_EQ(admission_mode_names(), "\"none\", \"all\", \"s3fifo\" or \"adaptive\"");
}

TEST(Admission, SecondMissIsWorthACopyForS3Fifo) {
  Admission admission({AdmissionMode::s3fifo, 0}, 1000);
  EXPECT_FALSE(admission.worth(1, Lba(5)));
  EXPECT_FALSE(admission.worth(2, Lba(5)));  // another disk's
  EXPECT_TRUE(admission.worth(1, Lba(5)));
  EXPECT_FALSE(admission.worth(1, Lba(5)));
  Admission all({AdmissionMode::all, 0}, 1000);
  EXPECT_TRUE(all.worth(1, Lba(5)));
  Admission none({AdmissionMode::none, 0}, 1000);
  EXPECT_FALSE(none.worth(1, Lba(5)));
}

TEST(Admission, AdaptiveAsksForNamesOfWhatLeftMemory) {
  Admission admission({AdmissionMode::adaptive, 0}, 100'000);
  EXPECT_EQ(admission.staging_blocks(), 2000u);
  EXPECT_FALSE(admission.worth(1, Lba(5)));
  EXPECT_FALSE(admission.worth(1, Lba(5)));  // staged: no name yet
  admission.remember(1, Lba(5));
  EXPECT_TRUE(admission.worth(1, Lba(5)));
  // Without memory the name is left at once.
  Admission bare({AdmissionMode::adaptive, 0, 0}, 100'000);
  EXPECT_EQ(bare.staging_blocks(), 0u);
  EXPECT_FALSE(bare.worth(1, Lba(5)));
  EXPECT_TRUE(bare.worth(1, Lba(5)));
}

TEST(Admission, StagingIsBounded) {
  const AdmissionOptions options{AdmissionMode::adaptive, 0, 1u << 20};
  EXPECT_EQ(Admission(options, 1'000'000'000).staging_blocks(), 256u);
  EXPECT_EQ(Admission(options, 100).staging_blocks(), 64u);
  EXPECT_EQ(Admission({AdmissionMode::s3fifo, 0}, 100'000).staging_blocks(), 0u);
}

TEST(Admission, OfWhatIsNeverKnownAPartGetsIn) {
  Admission admission({AdmissionMode::adaptive, 0}, 1000);
  int drawn = 0;
  for (int i = 0; i < 64'000; ++i) drawn += admission.draw_lot() ? 1 : 0;
  EXPECT_NEAR(drawn, 1000, 150);
  Admission paper({AdmissionMode::s3fifo, 0}, 1000);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(paper.draw_lot());
}

TEST(Rivals, FollowsAClearLeadOnly) {
  Rivals<3> rivals(1);
  for (int look = 0; look < 50; ++look) {
    for (size_t i = 0; i < 3; ++i) rivals.add(i, 100 + static_cast<double>(i));
    EXPECT_FALSE(rivals.look());  // a hundredth is chance
  }
  int changes = 0;
  for (int look = 0; look < 500; ++look) {
    rivals.add(0, 100);
    rivals.add(1, 80);
    rivals.add(2, -1000);
    changes += rivals.look() ? 1 : 0;
  }
  EXPECT_EQ(changes, 1);
  EXPECT_EQ(rivals.best(), 0u);
}

TEST(ShadowLog, SecondMissComesInAndWhatIsReadStays) {
  ShadowLog log(4, 1);
  EXPECT_FALSE(log.read(1));
  EXPECT_FALSE(log.read(1));  // its name was known: it is in now
  EXPECT_TRUE(log.read(1));
  for (uint64_t key = 10; key < 14; ++key) log.write(key);
  EXPECT_EQ(log.take_rewritten(), 1u);
  EXPECT_TRUE(log.read(1));  // another round
  EXPECT_FALSE(log.read(10));
  EXPECT_TRUE(log.read(13));
}

TEST(ShadowLog, TheBarSaysWhoGetsAnotherRound) {
  ShadowLog log(4, 2);
  log.write(1);
  log.write(2);
  EXPECT_TRUE(log.read(1));
  EXPECT_TRUE(log.read(2));
  EXPECT_TRUE(log.read(2));
  for (uint64_t key = 10; key < 14; ++key) log.write(key);
  EXPECT_FALSE(log.read(1));
  EXPECT_TRUE(log.read(2));
}

TEST(ShadowLog, WrittenOverAndOverIsOneBlock) {
  ShadowLog log(3, 1);
  for (int i = 0; i < 100; ++i) log.write(7);
  EXPECT_TRUE(log.read(7));
  log.write(8);
  EXPECT_TRUE(log.read(7));
  EXPECT_LE(log.take_rewritten(), 1u);
  EXPECT_LT(log.memory_bytes(), 4096u);
}

/// The bar after the accesses that `next` makes up.
template <typename Next>
int bar_for(uint64_t pool_blocks, int accesses, Next next) {
  RoundTuner tuner(pool_blocks);
  for (int i = 0; i < accesses; ++i) {
    const auto [key, is_write] = next(i);
    if (is_write)
      tuner.saw_write(key);
    else
      tuner.saw_read(key);
  }
  return tuner.bar();
}

TEST(RoundTuner, OnceIsEnoughWhereManyAreReadNowAndThen) {
  // Skewed reads: the square of a square, of ten times the pool.
  Random random(3);
  const auto next = [&](int) {
    const double x = random.uniform();
    return std::pair(static_cast<uint64_t>(x * x * x * x * 40'000), random.chance(1, 4));
  };
  EXPECT_EQ(bar_for(4000, 1'500'000, next), 1);
}

TEST(RoundTuner, NotWhereRoundsOnlyCostWrites) {
  // Everything is written and read once soon after; rounds keep what nobody asks for again.
  const auto next = [](int i) {
    const auto at = static_cast<uint64_t>(i / 2);
    return i % 2 == 0 ? std::pair(at, true) : std::pair(at - at % 64 + (at * 7) % 64, false);
  };
  EXPECT_GT(bar_for(4000, 1'000'000, next), 1);
}

TEST(RoundTuner, ALargePoolIsSampled) {
  RoundTuner tuner(1ull << 32);  // 16 TiB
  Random random(4);
  for (int i = 0; i < 3'000'000; ++i) tuner.saw_read(random.next());
  EXPECT_LT(tuner.memory_bytes(), 4u << 20);
}

}  // namespace
}  // namespace latte::policy
