// Status, metrics, page, progress and the line socket: what needs no server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "control/control_request.h"
#include "control/line_socket.h"
#include "control/metrics.h"
#include "control/page.h"
#include "control/progress_printer.h"
#include "control/service_notify.h"
#include "control/status.h"

namespace latte {
namespace {

using testing::HasSubstr;
using testing::Not;

StatusSnapshot sample() {
  StatusSnapshot snapshot;
  snapshot.uptime_s = 61;
  snapshot.host.pool.size_bytes = 1u << 30;
  snapshot.host.pool.written.admission = 4096;
  DiskStats& stats = snapshot.host.disks.emplace_back();
  stats.name = "db";
  stats.state = "online";
  stats.lag_ns = 1500 * kMillisecond;
  stats.read_hit_blocks = 3;
  stats.read_miss_blocks = 1;
  stats.writes = 2;
  stats.write_latency.record(100 * kMicrosecond);
  stats.write_latency.record(300 * kMicrosecond);
  DiskFacts& db = snapshot.disks.emplace_back();
  db.options.name = "db";
  db.options.size_bytes = 8ull << 30;
  db.clients = 2;
  DiskFacts& bad = snapshot.disks.emplace_back();
  bad.options.name = "bad";
  bad.options.max_lag_ns = kNoLagLimit;
  bad.error = "cloud <volume> is \"damaged\"";
  return snapshot;
}

TEST(Status, JsonHasTheContractsValues) {
  const auto json = status_json(sample());
  EXPECT_EQ(json["version"], LATTE_VERSION);
  EXPECT_EQ(json["pool"]["written_bytes"]["admission"], 4096);
  const auto& db = json["disks"][0];
  EXPECT_EQ(db["name"], "db");
  EXPECT_EQ(db["size_bytes"], 8ull << 30);
  EXPECT_EQ(db["state"], "online");
  EXPECT_DOUBLE_EQ(db["lag_seconds"], 1.5);
  EXPECT_DOUBLE_EQ(db["read_hit_ratio"], 0.75);
  EXPECT_NEAR(db["write_latency_us"]["p99"], 300, 300 * 0.032);
  EXPECT_DOUBLE_EQ(db["max_lag_seconds"], 2.0);
  const auto& bad = json["disks"][1];
  EXPECT_EQ(bad["state"], "failed");
  EXPECT_EQ(bad["reason"], "cloud <volume> is \"damaged\"");
  EXPECT_TRUE(bad["max_lag_seconds"].is_null());
  EXPECT_DOUBLE_EQ(bad["read_hit_ratio"], 0.0);
}

TEST(Status, TextNamesEachDisk) {
  const std::string text = status_text(status_json(sample()));
  EXPECT_THAT(text, HasSubstr("up 1 min 1 s"));
  EXPECT_THAT(text, HasSubstr("disk db: online, 8 GiB"));
  EXPECT_THAT(text, HasSubstr("1.500 s (limit 2 s)"));
  EXPECT_THAT(text, HasSubstr("disk bad: failed"));
  EXPECT_THAT(text, HasSubstr("no limit"));
}

TEST(Status, LocalDisksHaveNoCloudSide) {
  StatusSnapshot snapshot = sample();
  snapshot.disks[0].kind = DiskKind::local;
  snapshot.disks[0].thin = true;
  snapshot.host.disks[0].allocated_bytes = 3 << 20;
  snapshot.volumes = VolumesFacts{10 << 20, 7 << 20};
  const auto json = status_json(snapshot);
  EXPECT_EQ(json["volumes"]["free_bytes"], 7 << 20);
  const auto& db = json["disks"][0];
  EXPECT_EQ(db["kind"], "local");
  EXPECT_EQ(db["allocated_bytes"], 3 << 20);
  EXPECT_FALSE(db.contains("cloud") || db.contains("lag_seconds") || db.contains("durability"));
  EXPECT_EQ(json["disks"][1]["kind"], "hybrid");
  const std::string text = status_text(json);
  EXPECT_THAT(text, HasSubstr("volumes: 7 MiB of 10 MiB free"));
  EXPECT_THAT(text, HasSubstr("3 MiB allocated, thin"));
  const std::string metrics = metrics_text(snapshot);
  EXPECT_THAT(metrics, HasSubstr("latte_disk_allocated_bytes{disk=\"db\"} 3145728"));
  EXPECT_THAT(metrics, Not(HasSubstr("latte_disk_lag_seconds{disk=\"db\"}")));
  EXPECT_THAT(metrics, HasSubstr("latte_disk_lag_seconds{disk=\"bad\"}"));
}

TEST(Status, TextBearsAnyDocument) {
  for (const char* odd : {"{}", "7", "null", "[]", R"({"pool":7,"disks":[7,{}]})",
                          R"({"pool":{"failed":"x","used_bytes":-1},"disks":{"a":1}})"})
    EXPECT_THAT(status_text(nlohmann::ordered_json::parse(odd)), HasSubstr("pool:")) << odd;
}

TEST(Metrics, TextHasEachDiskAndDeclaresOnce) {
  const std::string text = metrics_text(sample());
  EXPECT_THAT(text, HasSubstr("latte_pool_written_bytes_total{cause=\"admission\"} 4096\n"));
  EXPECT_THAT(text, HasSubstr("latte_disk_lag_seconds{disk=\"db\"} 1.5\n"));
  EXPECT_THAT(text, HasSubstr("latte_disk_online{disk=\"bad\"} 0\n"));
  EXPECT_THAT(text,
              HasSubstr("latte_disk_read_block_bytes_total{disk=\"db\",from=\"pool\"} 12288\n"));
  EXPECT_THAT(text, HasSubstr("latte_disk_write_latency_seconds_count{disk=\"db\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("latte_disk_write_latency_seconds_sum{disk=\"db\"} 0.0004\n"));
  std::set<std::string> declared;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("# TYPE ")) continue;
    EXPECT_TRUE(declared.insert(line).second) << line;
  }
  EXPECT_GT(declared.size(), 25u);
}

// LATTE_WRITE_DOCS=1 brings the page up to date.
TEST(Metrics, ReferencePageIsTheTable) {
  const std::string path = LATTE_SOURCE_DIR "/docs/reference/metrics.md";
  std::ifstream in(path);
  std::stringstream page;
  page << in.rdbuf();
  const std::string text = page.str();
  const std::string mark = "<!-- table -->\n";
  const size_t at = text.find(mark);
  ASSERT_NE(at, std::string::npos) << path;
  const std::string wanted = text.substr(0, at) + mark + metrics_markdown();
  if (std::getenv("LATTE_WRITE_DOCS") != nullptr) {
    in.close();
    std::ofstream(path) << wanted;
    return;
  }
  EXPECT_EQ(text, wanted) << "run this test with LATTE_WRITE_DOCS=1";
}

TEST(Page, EscapesAndNamesTrouble) {
  const std::string page = status_page(sample());
  EXPECT_THAT(page, HasSubstr("cloud &lt;volume&gt; is &quot;damaged&quot;"));
  EXPECT_THAT(page, Not(HasSubstr("<volume>")));
  EXPECT_THAT(describe_trouble(sample()), HasSubstr("bad: not served"));
  StatusSnapshot good = sample();
  good.disks.pop_back();
  EXPECT_EQ(describe_trouble(good), "");
  good.host.disks[0].state = "cloud-stalled";
  EXPECT_EQ(describe_trouble(good), "");
  good.host.disks[0].state = "fenced";
  EXPECT_THAT(describe_trouble(good), HasSubstr("db: fenced"));
  good.host.pool.failed = true;
  EXPECT_THAT(describe_trouble(good), HasSubstr("pool: failed"));
}

TEST(ProgressText, HasShareRateAndTimeLeft) {
  EXPECT_EQ(describe_progress(1u << 30, 4ull << 30, 64.0 * (1 << 20)),
            "1 GiB of 4 GiB (25 %), 64 MiB/s, 48 s left");
  EXPECT_THAT(describe_progress(0, 0, 0), HasSubstr("no progress"));
  EXPECT_THAT(describe_progress(9, 8, 1), HasSubstr("(100 %)"));
}

TEST(ControlRequest, ReadsWhatThereIs) {
  using Command = ControlRequest::Command;
  EXPECT_EQ(parse_control_request("{\"command\":\"status\"}").value().command, Command::status);
  EXPECT_EQ(parse_control_request("{\"command\":\"stop\"}").value().command, Command::stop);
  const auto resize =
      parse_control_request(R"({"command":"resize","disk":"db","size_bytes":8192,"force":true})");
  ASSERT_TRUE(resize) << resize.error().message;
  EXPECT_EQ(resize.value().command, Command::resize);
  EXPECT_EQ(resize.value().disk, "db");
  EXPECT_EQ(resize.value().size_bytes, 8192u);
  EXPECT_TRUE(resize.value().force);
  for (const char* bad : {R"({"command":"resize","disk":"db"})",
                          R"({"command":"resize","disk":"db","size_bytes":-1})",
                          R"({"command":"resize","size_bytes":1})"})
    EXPECT_FALSE(parse_control_request(bad)) << bad;
  const auto record = parse_control_request(R"({"command":"record","disk":"db","seconds":7})");
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_EQ(record.value().seconds, 7u);
  for (const char* bad : {R"({"command":"record","disk":"db"})",
                          R"({"command":"record","disk":"db","seconds":604801})",
                          R"({"command":"record","disk":"db","seconds":"7"})"})
    EXPECT_FALSE(parse_control_request(bad)) << bad;
  const auto snapshot =
      parse_control_request(R"({"command":"snapshot","action":"create","disk":"db","name":"s"})");
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  EXPECT_EQ(snapshot.value().action, ControlRequest::SnapshotAction::create);
  EXPECT_EQ(snapshot.value().snapshot, "s");
  EXPECT_TRUE(parse_control_request(R"({"command":"snapshot","action":"list","disk":"db"})"));
  for (const char* bad : {R"({"command":"snapshot","action":"create","disk":"db"})",
                          R"({"command":"snapshot","action":"move","disk":"db","name":"s"})",
                          R"({"command":"snapshot","action":"list"})"})
    EXPECT_FALSE(parse_control_request(bad)) << bad;
  const auto drain = parse_control_request("{\"command\":\"drain\",\"disk\":\"db\",\"more\":1}");
  ASSERT_TRUE(drain);
  EXPECT_EQ(drain.value().command, Command::drain);
  EXPECT_EQ(drain.value().disk, "db");
}

TEST(ControlRequest, ReadsVolumeCommands) {
  const auto read = [](const std::string& more) {
    return parse_control_request("{\"command\":\"volume\"," + more + "}");
  };
  const auto create =
      read("\"action\":\"create\",\"name\":\"a\",\"size_bytes\":4096,\"thin\":true");
  ASSERT_TRUE(create);
  EXPECT_EQ(create.value().command, ControlRequest::Command::volume);
  EXPECT_EQ(create.value().volume.options.name, "a");
  EXPECT_EQ(create.value().volume.options.size_bytes, 4096u);
  EXPECT_TRUE(create.value().volume.options.thin);
  EXPECT_FALSE(create.value().volume.force);
  EXPECT_TRUE(read("\"action\":\"ls\""));
  EXPECT_TRUE(read("\"action\":\"rm\",\"name\":\"a\""));
  for (const char* bad :
       {"\"action\":\"eat\"", "\"action\":3", "\"name\":\"a\"", "\"action\":\"rm\"",
        "\"action\":\"rm\",\"name\":\"\"", "\"action\":\"create\",\"name\":\"a\"",
        "\"action\":\"resize\",\"name\":\"a\",\"size_bytes\":-1",
        "\"action\":\"resize\",\"name\":\"a\",\"size_bytes\":1.5"})
    EXPECT_EQ(read(bad).error().code, Errc::invalid) << bad;
}

TEST(ControlRequest, RefusesTheRest) {
  for (const std::string& line :
       {std::string(), std::string("garbage"), std::string("7"), std::string("[]"),
        std::string("{}"), std::string("{\"command\":5}"), std::string("{\"command\":\"start\"}"),
        std::string("{\"command\":\"drain\"}"), std::string("{\"command\":\"drain\",\"disk\":7}"),
        std::string("{\"command\":\"drain\",\"disk\":\"\"}"), std::string("\xff\xfe\0", 3),
        std::string(kMaxLineBytes, '['), "{\"command\":\"status\"}" + std::string("x")}) {
    const auto request = parse_control_request(line);
    ASSERT_FALSE(request) << line;
    EXPECT_EQ(request.error().code, Errc::invalid);
    EXPECT_FALSE(request.error().message.empty());
  }
}

class ServiceNotify : public testing::Test {
 protected:
  ~ServiceNotify() override { ::unsetenv("NOTIFY_SOCKET"); }
};

TEST_F(ServiceNotify, ReachesTheSocketThatIsNamed) {
  ASSERT_TRUE(notify_service(kServiceReady));  // nobody asked for it
  const UniqueFd manager(::socket(AF_UNIX, SOCK_DGRAM, 0));
  // The kernel chooses an abstract name.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_EQ(::bind(manager.get(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)), 0);
  socklen_t length = sizeof(address);
  ASSERT_EQ(::getsockname(manager.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  const size_t named = length - offsetof(sockaddr_un, sun_path);
  const std::string name = "@" + std::string(address.sun_path + 1, named - 1);
  ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  const Result<void> told = notify_service(kServiceReady);
  ASSERT_TRUE(told) << told.error().message;
  char got[64];
  const ssize_t bytes = ::recv(manager.get(), got, sizeof(got), MSG_DONTWAIT);
  EXPECT_EQ(std::string(got, static_cast<size_t>(std::max<ssize_t>(bytes, 0))), "READY=1");
}

TEST_F(ServiceNotify, NamesWhatIsWrong) {
  for (const std::string& wrong : {std::string("relative"), "/" + std::string(200, 'a')}) {
    ::setenv("NOTIFY_SOCKET", wrong.c_str(), 1);
    EXPECT_EQ(notify_service(kServiceReady).error().code, Errc::invalid) << wrong;
  }
  ::setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
  EXPECT_EQ(notify_service(kServiceReady).error().code, Errc::io);
}

class LineSocketTest : public testing::Test {
 protected:
  LineSocketTest() {
    int fds[2];
    LATTE_CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    near_ = std::make_unique<LineSocket>(UniqueFd(fds[0]));
    far_ = UniqueFd(fds[1]);
  }
  void send(std::string_view bytes) {
    ASSERT_EQ(::send(far_.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
  }
  std::unique_ptr<LineSocket> near_;
  UniqueFd far_;
};

TEST_F(LineSocketTest, SplitsLines) {
  send("one\ntwo\nthr");
  EXPECT_EQ(near_->read_line(1000).value(), "one");
  EXPECT_EQ(near_->read_line(1000).value(), "two");
  EXPECT_EQ(near_->read_line(1).error().code, Errc::io);
  send("ee\n");
  EXPECT_EQ(near_->read_line(1000).value(), "three");
}

TEST_F(LineSocketTest, LongestLineFitsAndOneMoreByteDoesNot) {
  send(std::string(kMaxLineBytes, 'a') + "\n");
  EXPECT_EQ(near_->read_line(1000).value().size(), kMaxLineBytes);
  send(std::string(kMaxLineBytes + 1, 'a') + "\n");
  EXPECT_EQ(near_->read_line(1000).error().code, Errc::invalid);
}

TEST_F(LineSocketTest, WriterThatIsNotReadGivesUp) {
  const Result<void> sent = near_->write_line(std::string(16u << 20, 'a'), 50);
  EXPECT_EQ(sent.error().code, Errc::io);
}

TEST_F(LineSocketTest, EndOfTheOtherSideIsSeen) {
  far_ = UniqueFd();
  EXPECT_EQ(near_->read_line(1000).error().code, Errc::not_found);
  EXPECT_EQ(near_->write_line("x", 1000).error().code, Errc::io);
}

TEST_F(LineSocketTest, JsonThatIsNoUtf8IsMended) {
  ASSERT_TRUE(near_->write_json({{"error", "\xff"}}, 1000));
  char piece[64];
  const ssize_t got = ::recv(far_.get(), piece, sizeof(piece), 0);
  EXPECT_EQ(std::string(piece, static_cast<size_t>(got)), "{\"error\":\"\xef\xbf\xbd\"}\n");
}

}  // namespace
}  // namespace latte
