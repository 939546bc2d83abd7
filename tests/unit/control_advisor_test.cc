// The advisor's thread, the hook command and the price table.
#include "control/advisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "control/hook_command.h"
#include "device/cloud_price.h"

namespace latte {
namespace {

using testing::HasSubstr;

/// A program of a test's own, removed with it.
class Script {
 public:
  explicit Script(const std::string& body) {
    path_ = (std::filesystem::temp_directory_path() /
             ("latte-hook-" + std::to_string(::getpid()) + "-" + std::to_string(next_++)))
                .string();
    std::ofstream(path_) << "#!/bin/sh\n" << body;
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all);
  }
  ~Script() {
    std::filesystem::remove(path_);
    std::filesystem::remove(path_ + ".out");
  }
  const std::string& path() const { return path_; }
  /// What it wrote into its path with ".out" behind.
  std::string written() const {
    std::ifstream in(path_ + ".out");
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  static inline int next_ = 0;
  std::string path_;
};

Result<std::string> run(const Script& script, std::vector<std::string> more = {},
                        TimeNs limit_ns = 20 * kSecond) {
  more.insert(more.begin(), script.path());
  return run_hook(more, limit_ns, std::stop_token());
}

TEST(HookCommand, PassesArgumentsAsTheyAreAndKeepsWhatItSays) {
  const Script script("printf '%s|' \"$@\"; cat; kill -0 $$");
  const auto said = run(script, {"a b", "$(reboot)", "; echo c"});
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_EQ(said.value(), "a b|$(reboot)|; echo c|");
}

TEST(HookCommand, FailuresSayWhatTheProgramSaid) {
  const auto ended = run(Script("echo no such volume >&2; exit 3"));
  ASSERT_FALSE(ended);
  EXPECT_THAT(ended.error().message, HasSubstr("ended with status 3; it said: no such volume"));
  const auto killed = run(Script("kill -TERM $$"));
  ASSERT_FALSE(killed);
  EXPECT_THAT(killed.error().message, HasSubstr("killed by signal 15"));
  const auto missing = run_hook({"/nowhere/set-iops"}, kSecond, std::stop_token());
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::not_found);
}

TEST(HookCommand, KeepsNoMoreThanItsLimitOfEndlessOutput) {
  const auto said = run(Script("head -c 1000000 /dev/zero | tr '\\0' x"));
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_EQ(said.value().size(), kMaxHookOutputBytes);
}

TEST(HookCommand, IsKilledWithItsChildrenWhenItTakesTooLong) {
  const Script script("sleep 600 & echo $! > \"$0.out\"; sleep 600");
  const auto started = std::chrono::steady_clock::now();
  const auto late = run(script, {}, 500 * kMillisecond);
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(10));
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().message, HasSubstr("did not end within 0.5 s and was killed"));
  const pid_t child = std::stoi(script.written());
  for (int i = 0; i < 500 && ::kill(child, 0) == 0; ++i) {
    std::ifstream state("/proc/" + std::to_string(child) + "/stat");
    std::string line;
    std::getline(state, line);
    if (line.find(") Z") != std::string::npos) break;  // dead; whoever adopted it is slow
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_LT(i, 499);
  }
}

TEST(HookCommand, EndsWithTheServer) {
  const Script script("sleep 600");
  std::stop_source source;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    source.request_stop();
  });
  const auto ended = run_hook({script.path()}, 600 * kSecond, source.get_token());
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, Errc::busy);
}

/// A disk that is asked for 5,000 operations a second and limited to `iops`.
struct BusyDisk {
  std::atomic<uint64_t> wanted{0};
  std::atomic<uint64_t> iops{3000};
  std::atomic<uint64_t> applied{0};
  Advisor::Read read = [this](const std::string& name) -> std::optional<Advisor::Reading> {
    if (name != "db") return std::nullopt;
    return Advisor::Reading{wanted += 50, 0, iops};
  };
  Advisor::Apply apply = [this](const std::string&, uint64_t value) {
    iops = value;
    ++applied;
  };
};

Advisor::Disk advised(const std::string& name, std::vector<std::string> hook) {
  AdvisorConfig config;
  config.period_ns = 300 * kMillisecond;
  config.limits = {1000, 16000, 100};
  config.hook = std::move(hook);
  return Advisor::Disk{name, config};
}

template <typename Condition>
bool reached(Condition condition) {
  for (int i = 0; i < 2000 && !condition(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return condition();
}

TEST(Advisor, TheHookGetsDiskAndValueAndTheLimitFollows) {
  const Script script("echo \"$@\" >> \"$0.out\"");
  BusyDisk disk;
  Advisor advisor({advised("db", {script.path(), "vol-7"})}, disk.read, disk.apply,
                  10 * kMillisecond);
  ASSERT_TRUE(reached([&] { return disk.applied > 0; }));
  const auto facts = advisor.facts("db");
  ASSERT_TRUE(facts.has_value());
  EXPECT_THAT(script.written(), HasSubstr("vol-7 db " + std::to_string(facts->advised_iops)));
  EXPECT_GT(facts->advised_iops, 3000u);
  EXPECT_EQ(facts->hook_error, "");
  EXPECT_FALSE(advisor.facts("other").has_value());
}

TEST(Advisor, AHookThatFailsLeavesTheLimitAndIsRunAgain) {
  const Script script("echo quota >&2; exit 1");
  BusyDisk disk;
  Advisor advisor({advised("db", {script.path()}), advised("away", {script.path()})}, disk.read,
                  disk.apply, 10 * kMillisecond);
  ASSERT_TRUE(reached([&] { return advisor.facts("db")->hook_failures >= 2; }));
  EXPECT_EQ(disk.iops, 3000u);
  EXPECT_THAT(advisor.facts("db")->hook_error, HasSubstr("it said: quota"));
  EXPECT_EQ(advisor.facts("away")->periods, 0u);
}

TEST(Advisor, WithoutAHookItOnlyTells) {
  BusyDisk disk;
  Advisor advisor({advised("db", {})}, disk.read, disk.apply, 10 * kMillisecond);
  ASSERT_TRUE(reached([&] { return advisor.facts("db")->periods >= 2; }));
  EXPECT_EQ(disk.applied, 0u);
  EXPECT_GT(advisor.facts("db")->advised_iops, 3000u);
}

TEST(Advisor, EndsAtOnceBesideAHookThatHangs) {
  const Script script("sleep 600");
  BusyDisk disk;
  const auto started = std::chrono::steady_clock::now();
  {
    Advisor advisor({advised("db", {script.path()})}, disk.read, disk.apply, 10 * kMillisecond);
    ASSERT_TRUE(reached([&] { return advisor.facts("db")->periods > 0; }));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(20));
}

TEST(Price, AddsUpWhatIsProvisionedAndWhatIsUsed) {
  PriceTable gp3{"USD", 0.08, 0.005, 3000, 0.04, 125, 0};
  CloudLimits limits;
  limits.operations.per_second = 5000;
  limits.bytes.per_second = 250u << 20;
  const MonthlyCost cost = monthly_cost(gp3, 100ull << 30, limits, 1000);
  EXPECT_DOUBLE_EQ(cost.capacity, 8);
  EXPECT_DOUBLE_EQ(cost.iops, 10);
  EXPECT_DOUBLE_EQ(cost.bandwidth, 5);
  EXPECT_DOUBLE_EQ(cost.operations, 0);
  EXPECT_DOUBLE_EQ(cost.total(), 23);
  // What is included costs nothing, and less than it gives nothing back.
  limits.operations.per_second = 100;
  limits.bytes.per_second = 0;
  EXPECT_DOUBLE_EQ(monthly_cost(gp3, 0, limits, 0).total(), 0);
  // 10 operations a second are 26.3 million a month.
  gp3.million_operations = 0.1;
  EXPECT_NEAR(monthly_cost(gp3, 0, limits, 10).operations, 2.63, 0.01);
}

}  // namespace
}  // namespace latte
