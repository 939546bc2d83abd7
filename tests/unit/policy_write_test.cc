// PreferLocal and WritePacer, fed with numbers: no I/O, no clock.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <numeric>
#include <vector>

#include "policy/write_pacer.h"
#include "policy/write_policy.h"

namespace latte {
namespace {

TEST(PreferLocal, TakesTheCloudOnlyWhereThePoolCannot) {
  PreferLocal policy;
  WriteContext context;
  context.local_has_room = context.cloud_has_room = true;
  EXPECT_EQ(policy.choose(context), Tier::local);
  context.local_has_room = false;
  EXPECT_EQ(policy.choose(context), Tier::cloud);
  context.cloud_has_room = false;
  EXPECT_EQ(policy.choose(context), Tier::local);  // waits for room
  context.local_failed = true;
  EXPECT_EQ(policy.choose(context), Tier::cloud);
}

constexpr uint64_t kWriteBytes = 64u << 10;
constexpr double kCloudRate = 40e6;  // bytes/s
constexpr size_t kWriters = 8;

/// Writers in a closed loop on a pool three times as fast as the cloud that is drained behind them.
class Burst {
 public:
  struct Options {
    TimeNs max_lag_ns = 2 * kSecond;
    uint64_t room_bytes = 8ull << 30;
    double write_rate = 3 * kCloudRate;
    TimeNs length_ns = 30 * kSecond;
  };
  /// The cloud's rate is known from earlier writes.
  explicit Burst(Options options) : options_(options), pacer_(options.max_lag_ns) {
    pacer_.on_drained(1u << 20, static_cast<TimeNs>((1u << 20) / kCloudRate * 1e9));
  }

  void run() {
    const double service_s = kWriters * static_cast<double>(kWriteBytes) / options_.write_rate;
    const auto service_ns = static_cast<TimeNs>(service_s * 1e9);
    std::vector<TimeNs> ready(kWriters);
    for (size_t i = 0; i < kWriters; ++i) ready[i] = static_cast<TimeNs>(i) * kMillisecond;
    while (true) {
      TimeNs& next = *std::min_element(ready.begin(), ready.end());
      if (next > options_.length_ns) return;
      const TimeNs arrived = next;
      drain_until(arrived);
      WritePacer::State state;
      state.dirty_bytes = dirty();
      state.oldest_age_ns = age(arrived);
      state.room_bytes = options_.room_bytes;
      const TimeNs start = pacer_.admit(arrived, kWriteBytes, state);
      EXPECT_GE(start, arrived);
      written_ += kWriteBytes;
      waiting_.emplace_back(written_, start);
      next = start + service_ns;
      latencies_[arrived / kSecond].push_back(next - arrived);
      lag_max_ns_ = std::max(lag_max_ns_, age(arrived));
      dirty_max_ = std::max(dirty_max_, dirty());
    }
  }

  TimeNs lag_max_ns() const { return lag_max_ns_; }
  uint64_t dirty_max() const { return dirty_max_; }
  uint64_t written() const { return written_; }
  /// Per second: all latencies, sorted.
  std::map<TimeNs, std::vector<TimeNs>> latencies() const {
    auto sorted = latencies_;
    for (auto& [second, values] : sorted) std::sort(values.begin(), values.end());
    return sorted;
  }

 private:
  uint64_t dirty() const { return written_ - drained_; }
  TimeNs age(TimeNs now) const {
    return waiting_.empty() ? 0 : std::max<TimeNs>(0, now - waiting_.front().second);
  }
  /// The cloud takes batches of up to 1 MiB, one after the other.
  void drain_until(TimeNs now) {
    while (dirty() > 0) {
      const uint64_t batch = std::min<uint64_t>(dirty(), 1u << 20);
      const auto took = static_cast<TimeNs>(static_cast<double>(batch) / kCloudRate * 1e9);
      const TimeNs begin = std::max(drain_at_, waiting_.front().second);
      if (begin + took > now) return;
      drain_at_ = begin + took;
      drained_ += batch;
      while (!waiting_.empty() && waiting_.front().first <= drained_) waiting_.pop_front();
      pacer_.on_drained(batch, took);
    }
  }

  Options options_;
  WritePacer pacer_;
  std::deque<std::pair<uint64_t, TimeNs>> waiting_;  // (end, written at)
  uint64_t written_ = 0;
  uint64_t drained_ = 0;
  TimeNs drain_at_ = 0;
  TimeNs lag_max_ns_ = 0;
  uint64_t dirty_max_ = 0;
  std::map<TimeNs, std::vector<TimeNs>> latencies_;
};

TEST(WritePacer, ABurstAtThreeTimesTheCloudsRateStaysUnderMaxLag) {
  Burst burst({});
  burst.run();
  EXPECT_LT(burst.lag_max_ns(), 2 * kSecond);
  EXPECT_GT(burst.lag_max_ns(), kSecond / 2);  // and uses what it may
}

TEST(WritePacer, NoWriteWaitsOverThreeTimesTheMedianOfItsSecond) {
  Burst burst({});
  burst.run();
  for (const auto& [second, sorted] : burst.latencies())
    EXPECT_LE(sorted.back(), 3 * sorted[sorted.size() / 2]) << "second " << second;
}

TEST(WritePacer, ABurstGetsAllThatTheCloudTakes) {
  Burst burst({});
  burst.run();
  EXPECT_GT(static_cast<double>(burst.written()), 0.95 * 30 * kCloudRate);
}

TEST(WritePacer, WritersSlowerThanTheCloudAreNotSlowed) {
  Burst::Options options;
  options.write_rate = 0.5 * kCloudRate;
  Burst burst(options);
  burst.run();
  EXPECT_GT(static_cast<double>(burst.written()), 0.99 * 30 * options.write_rate);
}

TEST(WritePacer, WithoutMaxLagTheBurstRunsAtLocalSpeedUntilThePoolFills) {
  Burst::Options options;
  options.max_lag_ns = INT64_MAX;
  Burst unbound(options);
  unbound.run();
  EXPECT_GT(static_cast<double>(unbound.written()), 0.99 * 30 * options.write_rate);
}

TEST(WritePacer, AFullPoolSlowsWritersToTheCloudsRateWithoutAStall) {
  Burst::Options options;
  options.max_lag_ns = INT64_MAX;
  options.room_bytes = 512u << 20;
  options.length_ns = 40 * kSecond;
  Burst burst(options);
  burst.run();
  EXPECT_LT(burst.dirty_max(), options.room_bytes);
  for (const auto& [second, sorted] : burst.latencies())
    EXPECT_LE(sorted.back(), 3 * sorted[sorted.size() / 2]) << "second " << second;
}

TEST(WritePacer, ACloudThatIsAwaySlowsNobodyByItsLag) {
  WritePacer pacer(2 * kSecond);
  pacer.on_drained(1u << 20, kSecond);
  WritePacer::State state;
  state.dirty_bytes = 1u << 30;
  state.oldest_age_ns = 60 * kSecond;
  state.room_bytes = 8ull << 30;
  EXPECT_GT(pacer.admit(kSecond, kWriteBytes, state) + pacer.admit(kSecond, kWriteBytes, state),
            2 * kSecond);
  WritePacer other(2 * kSecond);
  other.on_drained(1u << 20, kSecond);
  state.drain_away = true;
  EXPECT_EQ(other.admit(kSecond, kWriteBytes, state), kSecond);
  EXPECT_EQ(other.admit(kSecond, kWriteBytes, state), kSecond);
}

TEST(WritePacer, WhoWritesOneAtATimeAfterAnOutageDoesNotStaySlow) {
  WritePacer pacer(100 * kMillisecond);
  pacer.on_drained(28u << 10, 9 * kSecond);  // the cloud hung meanwhile
  TimeNs now_ns = 0;
  int slow = 0;
  for (int i = 0; i < 60; ++i) {
    WritePacer::State state;
    state.dirty_bytes = 28u << 10;  // the write before
    const TimeNs start_ns = pacer.admit(now_ns, 28u << 10, state);
    slow += start_ns - now_ns > 200 * kMillisecond;
    pacer.on_drained(28u << 10, 10 * kMillisecond, true);
    now_ns = start_ns + kMillisecond;
  }
  EXPECT_LE(slow, 6);
  const double before = pacer.drain_rate();
  pacer.on_drained(4096, 100 * kMillisecond, true);  // alone and slow: says nothing
  EXPECT_EQ(pacer.drain_rate(), before);
}

TEST(WritePacer, ACloudLogThatFillsUpSlowsWritersToTheBasesRate) {
  const auto gap = [](uint64_t log_free_bytes) {
    WritePacer pacer(2 * kSecond);
    pacer.on_drained(100u << 20, kSecond);
    pacer.on_applied(10u << 20, 10u << 20, kSecond);
    WritePacer::State state;
    state.dirty_bytes = 60u << 20;
    state.room_bytes = 8ull << 30;
    state.log_free_bytes = log_free_bytes;
    const TimeNs first = pacer.admit(0, 1u << 20, state);
    return pacer.admit(0, 1u << 20, state) - first;
  };
  EXPECT_GT(gap(10u << 20), 2 * gap(1u << 30));
}

}  // namespace
}  // namespace latte
