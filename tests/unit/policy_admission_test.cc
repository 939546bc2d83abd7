// What decides about copies of cloud blocks, fed with numbers: no I/O, no clock.
#include <gtest/gtest.h>

#include "policy/admission.h"
#include "policy/ghost_names.h"
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
  for (const char* name : {"none", "all", "s3fifo"}) EXPECT_TRUE(admission_mode(name)) << name;
  EXPECT_FALSE(admission_mode("lru"));
  EXPECT_EQ(admission_mode_names(), "\"none\", \"all\" or \"s3fifo\"");
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

}  // namespace
}  // namespace latte::policy
