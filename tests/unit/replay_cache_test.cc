// Cache-only replay: from a trace's file to the reports.
#include "replay/cache_replay.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "replay/block_trace.h"
#include "replay/cache_report.h"
#include "replay/svg_plot.h"

namespace latte::replay {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class TraceFile {
 public:
  explicit TraceFile(const std::string& text)
      : path_(::testing::TempDir() + "latte_replay_" + std::to_string(::getpid()) + ".csv") {
    std::ofstream(path_) << text;
  }
  ~TraceFile() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Result<BlockTrace> load(const std::string& text, const trace::TraceOptions& options = {}) {
  const TraceFile file(text);
  return load_block_trace(file.path(), options, [](double) {});
}

TEST(BlockTrace, CutsRequestsIntoBlocksAndNumbersThem) {
  // 12800 bytes from the middle of a block: four blocks. Discards and flushes are passed over.
  const auto loaded = load("0,R,2048,12800\n1,W,4096,512\n2,D,0,4096\n3,F,0,0\n4,R,81920,4096\n");
  ASSERT_TRUE(loaded.ok());
  const BlockTrace& trace = loaded.value();
  EXPECT_EQ(trace.requests, 3u);
  EXPECT_EQ(trace.reads, 5u);
  EXPECT_EQ(trace.block_count, 5u);
  ASSERT_EQ(trace.accesses.size(), 6u);
  EXPECT_FALSE(trace.accesses[0].is_sequential);
  EXPECT_TRUE(trace.accesses[1].is_sequential);
  EXPECT_EQ(trace.accesses[4].block, 1u);
  EXPECT_TRUE(trace.accesses[4].is_write);
  EXPECT_FALSE(trace.accesses[5].is_sequential);
  EXPECT_EQ(trace.accesses[0].request_blocks, 4u);
  EXPECT_EQ(trace.accesses[4].request_blocks, 1u);
}

TEST(BlockTrace, ErrorsNameTheTrace) {
  EXPECT_THAT(load("0,F,0,0\n").error().message, HasSubstr("no reads or writes"));
  EXPECT_THAT(load("0,R,0,512\nx\n").error().message, HasSubstr("line 2"));
  trace::TraceOptions lenient;
  lenient.lenient = true;
  EXPECT_THAT(load("0,R,0,0\n", lenient).error().message, HasSubstr("zero length"));
}

TEST(CacheReplay, Sizes) {
  EXPECT_DOUBLE_EQ(parse_cache_size("25%").value().share, 0.25);
  EXPECT_EQ(parse_cache_size("1.5MiB").value().bytes, 1536u << 10);
  for (const char* bad : {"", "x", "-5%", "0%", "25", "5KB", "1KiB", "1e300TiB", "nan%", "2000%"})
    EXPECT_THAT(parse_cache_size(bad).error().message, HasSubstr("such as 25%")) << bad;
}

std::string loop_trace() {
  std::string text;
  for (int i = 0; i < 20'000; ++i)
    text += fmt::format("{},{},{},4096\n", i, i % 3 == 0 ? 'W' : 'R', i % 500 * 4096);
  return text;
}

CacheReplayOptions two_policies(unsigned jobs) {
  CacheReplayOptions options;
  options.policies = {"lru", "ours"};
  options.sizes = {parse_cache_size("20%").value(), parse_cache_size("1MiB").value()};
  options.jobs = jobs;
  return options;
}

TEST(CacheReplay, ResultsDoNotDependOnThreads) {
  const auto trace = load(loop_trace());
  double last = 0;
  const auto track = [&](double share) { last = share; };
  const auto one = replay_cache(trace.value(), two_policies(1), track);
  EXPECT_DOUBLE_EQ(last, 1);
  const auto many = replay_cache(trace.value(), two_policies(4), track);
  ASSERT_EQ(one.size(), 4u);
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].policy, many[i].policy);
    EXPECT_EQ(one[i].capacity_blocks, i < 2 ? 100u : 256u);
    EXPECT_EQ(one[i].counts.read_hits, many[i].counts.read_hits);
    EXPECT_EQ(one[i].counts.admitted, many[i].counts.admitted);
    EXPECT_EQ(one[i].counts.reads, trace.value().reads);
  }
}

TEST(CacheReport, AllThreeTellTheSame) {
  const auto trace = load(loop_trace());
  const CacheResult result =
      summarize(trace.value(), replay_cache(trace.value(), two_policies(2), [](double) {}));
  const std::string ratio = fmt::format("{:.4f}", result.runs[1].counts.hit_ratio());
  EXPECT_THAT(to_table(result), HasSubstr(ratio));
  const auto json = nlohmann::json::parse(to_json({result}, 5));
  EXPECT_EQ(json["seed"], 5);
  EXPECT_EQ(json["traces"][0]["runs"].size(), 4u);
  EXPECT_EQ(json["traces"][0]["runs"][1]["read_hit_blocks"], result.runs[1].counts.read_hits);
  const std::string page = to_html({result}, 5);
  EXPECT_THAT(page, HasSubstr(ratio));
  EXPECT_THAT(page, HasSubstr("</html>"));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
}

TEST(SvgPlot, EmptyAndHostileInputs) {
  EXPECT_THAT(to_svg(LinePlot{}), Not(HasSubstr("nan")));
  EXPECT_THAT(to_svg(BarPlot{}), Not(HasSubstr("nan")));
  LinePlot plot;
  plot.title = "<b>\"&";
  plot.series = {{"a", {{0, 0}}, false}};
  EXPECT_THAT(to_svg(plot), HasSubstr("&lt;b&gt;&quot;&amp;"));
}

}  // namespace
}  // namespace latte::replay
