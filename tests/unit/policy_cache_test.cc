// Cache policies: the figures of a known trace, small cases by hand, and patterns that each policy
// must or must not master.
#include "policy/cache_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/random.h"

namespace latte::policy {
namespace {

struct Pattern {
  std::vector<CacheAccess> accesses;
  uint64_t block_count = 0;
  std::unordered_map<uint64_t, BlockId> ids{};

  void add(uint64_t lba, bool is_write = false, bool is_sequential = false,
           uint16_t request_blocks = 1) {
    const auto id = ids.try_emplace(lba, static_cast<BlockId>(ids.size())).first->second;
    accesses.push_back({id, is_write, is_sequential, request_blocks});
    block_count = ids.size();
  }
};

CacheCounts run(std::string_view name, const Pattern& pattern, uint64_t capacity,
                uint64_t seed = 1) {
  CacheOptions options;
  options.capacity_blocks = capacity;
  options.block_count = pattern.block_count;
  options.seed = seed;
  options.future = pattern.accesses;
  const auto cache = make_cache_policy(name, options);
  for (const CacheAccess& access : pattern.accesses) cache->access(access);
  return cache->counts();
}

Pattern reads(std::initializer_list<uint64_t> lbas) {
  Pattern pattern;
  for (const uint64_t lba : lbas) pattern.add(lba);
  return pattern;
}

/// Zipf-like draws: block i with a chance in proportion to 1 / (i + 1).
void add_zipf(Pattern& pattern, Random& random, uint64_t blocks, uint64_t draws, uint64_t base) {
  const double top = std::log(static_cast<double>(blocks));
  for (uint64_t i = 0; i < draws; ++i)
    pattern.add(base + static_cast<uint64_t>(std::exp(random.uniform() * top)) - 1);
}

TEST(CachePolicy, Names) {
  CacheOptions options;
  for (const std::string_view name : kCachePolicyNames)
    EXPECT_NE(make_cache_policy(name, options), nullptr) << name;
  EXPECT_EQ(make_cache_policy("best", options), nullptr);
}

TEST(CachePolicy, FifoAndLruDifferByWhatWasUsedLast) {
  const Pattern pattern = reads({1, 2, 1, 3, 1});
  EXPECT_EQ(run("fifo", pattern, 2).read_hits, 1u);  // 1 went when 3 came
  EXPECT_EQ(run("lru", pattern, 2).read_hits, 2u);   // 2 went
}

TEST(CachePolicy, WritesGoInAndAreNotAdmissions) {
  Pattern pattern;
  pattern.add(1, true);
  pattern.add(1);
  pattern.add(2);
  for (const std::string_view name : kCachePolicyNames) {
    if (name == "ours" || name == "s3fifo") continue;  // their queues need more than two blocks
    const CacheCounts counts = run(name, pattern, 2);
    EXPECT_EQ(counts.read_hits, 1u) << name;
    EXPECT_EQ(counts.writes, 1u) << name;
    EXPECT_LE(counts.admitted, 1u) << name;
  }
  EXPECT_EQ(run("lru", pattern, 2).admitted, 1u);
}

TEST(CachePolicy, SecondMissAdmitsAtTheSecondMiss) {
  const CacheCounts counts = run("second-miss", reads({1, 1, 1, 2, 1}), 2);
  EXPECT_EQ(counts.read_hits, 2u);
  EXPECT_EQ(counts.admitted, 1u);
}

TEST(CachePolicy, ArcKeepsWhatIsReadOftenThroughAScan) {
  Pattern pattern;
  for (int round = 0; round < 20; ++round) {
    for (uint64_t lba = 0; lba < 8; ++lba) pattern.add(lba), pattern.add(lba);
    for (uint64_t i = 0; i < 12; ++i) pattern.add(1000 + static_cast<uint64_t>(round) * 12 + i);
  }
  EXPECT_EQ(run("lru", pattern, 12).read_hits, 20u * 8);
  EXPECT_GT(run("arc", pattern, 12).read_hits, 20u * 8 + 19 * 6);
}

TEST(CachePolicy, BeladyIsABoundAndExactOnALoop) {
  Pattern pattern;
  for (int round = 0; round < 10; ++round)
    for (uint64_t lba = 0; lba < 100; ++lba) pattern.add(lba);
  // With bypass, 50 blocks stay for good: each but the first round hits them.
  EXPECT_EQ(run("belady", pattern, 50).read_hits, 9u * 50);
  for (const std::string_view name : kCachePolicyNames)
    EXPECT_LE(run(name, pattern, 50).read_hits, 9u * 50) << name;
}

/// What is asked of "ours": on no pattern much below the best simple policy, at far fewer writes.
void expect_ours_keeps_up(const Pattern& pattern, uint64_t capacity, double slack) {
  double best = 0;
  for (const std::string_view name : {"fifo", "lru", "arc", "s3fifo"})
    best = std::max(best, run(name, pattern, capacity).hit_ratio());
  const CacheCounts ours = run("ours", pattern, capacity);
  EXPECT_GE(ours.hit_ratio(), best - slack);
  EXPECT_LE(static_cast<double>(ours.admitted),
            0.5 * static_cast<double>(run("lru", pattern, capacity).admitted) +
                static_cast<double>(capacity));
}

TEST(AdaptivePolicy, LoopLargerThanTheCache) {
  Pattern pattern;
  for (int round = 0; round < 40; ++round)
    for (uint64_t lba = 0; lba < 8000; ++lba) pattern.add(lba, false, lba != 0);
  EXPECT_LT(run("lru", pattern, 4000).hit_ratio(), 0.01);
  EXPECT_GT(run("ours", pattern, 4000).hit_ratio(), 0.35);  // Belady: 0.49
  expect_ours_keeps_up(pattern, 4000, 0);
}

TEST(AdaptivePolicy, ZipfReads) {
  Pattern pattern;
  Random random(7);
  add_zipf(pattern, random, 40'000, 600'000, 0);
  expect_ours_keeps_up(pattern, 4000, 0.01);
}

TEST(AdaptivePolicy, ScansPassByAWorkingSet) {
  Pattern pattern;
  Random random(8);
  for (uint64_t round = 0; round < 30; ++round) {
    add_zipf(pattern, random, 20'000, 10'000, 0);
    for (uint64_t i = 0; i < 6000; ++i) pattern.add(1'000'000 + round * 6000 + i, false, i != 0);
  }
  EXPECT_GT(run("ours", pattern, 4000).hit_ratio(), run("lru", pattern, 4000).hit_ratio());
  expect_ours_keeps_up(pattern, 4000, 0.01);
}

TEST(AdaptivePolicy, FilesWrittenThenReadBackOnce) {
  Pattern pattern;
  Random random(9);
  for (uint64_t round = 0; round < 40; ++round) {
    for (uint64_t i = 0; i < 6000; ++i) pattern.add(i, true, i != 0);
    for (uint64_t i = 0; i < 6000; ++i) pattern.add(i, false, i != 0);
  }
  EXPECT_GT(run("ours", pattern, 4000).hit_ratio(), run("lru", pattern, 4000).hit_ratio() + 0.2);
}

/// Two kinds of writes to random places: short ones are written again and again, long ones are
/// read.
Pattern written_short_read_long(uint16_t long_blocks) {
  Pattern pattern;
  Random random(11);
  for (int i = 0; i < 40'000; ++i) {
    const uint64_t page = random.below(500) * 16;
    for (uint64_t b = 0; b < 16; ++b) pattern.add(page + b, i % 2 == 0, b != 0, long_blocks);
    for (int k = 0; k < 16; ++k) pattern.add(1'000'000 + random.below(20'000), true);
  }
  return pattern;
}

TEST(AdaptivePolicy, TheLengthOfARequestTellsWhatAWrittenBlockIsWorth) {
  const double told = run("ours", written_short_read_long(16), 4000).hit_ratio();
  const double untold = run("ours", written_short_read_long(1), 4000).hit_ratio();
  EXPECT_GT(told, untold + 0.04);
  EXPECT_GT(told, run("s3fifo", written_short_read_long(16), 4000).hit_ratio());
}

TEST(AdaptivePolicy, OnePassIsNotWorthACopyOnceTheCacheIsFull) {
  Pattern pattern;
  for (uint64_t i = 0; i < 100'000; ++i) pattern.add(i, false, i != 0);
  EXPECT_LE(run("ours", pattern, 4000).admitted, 5000u);
}

TEST(AdaptivePolicy, ASeedRepeatsARunAndSmallCachesWork) {
  Pattern pattern;
  Random random(10);
  add_zipf(pattern, random, 3000, 50'000, 0);
  for (const uint64_t capacity : {1u, 2u, 7u, 8u, 9u, 64u, 513u, 5000u}) {
    const CacheCounts first = run("ours", pattern, capacity, 3);
    const CacheCounts second = run("ours", pattern, capacity, 3);
    EXPECT_EQ(first.read_hits, second.read_hits) << capacity;
    EXPECT_EQ(first.admitted, second.admitted) << capacity;
    EXPECT_EQ(first.reads, 50'000u);
  }
  EXPECT_GT(run("ours", pattern, 5000).hit_ratio(), 0.93);  // all of it fits
}

}  // namespace
}  // namespace latte::policy
