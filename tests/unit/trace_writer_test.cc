// Recorded traces: what is written is what TraceReader reads, plain or packed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/random.h"
#include "device/io_trace_ring.h"
#include "trace/csv_writer.h"
#include "trace/packed_file.h"
#include "trace/trace_reader.h"

namespace latte::trace {
namespace {

using ::testing::HasSubstr;

class TraceWriter : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "latte-trace-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path directory_;
};

/// Requests of a busy disk: often several in a microsecond, that meet, and now and then one that
/// came a little late.
std::vector<TraceRecord> busy_disk(uint64_t seed, size_t count) {
  Random random(seed);
  std::vector<TraceRecord> records;
  TimeNs now_ns = 0;
  while (records.size() < count) {
    now_ns += static_cast<TimeNs>(random.below(1000));
    TraceRecord record;
    record.time_ns = random.chance(1, 50) ? now_ns - std::min<TimeNs>(now_ns, 5000) : now_ns;
    record.op = static_cast<TraceOp>(random.below(4));
    record.offset_bytes = random.below(16) * 4096;
    record.length_bytes = random.between(1, 4) * 4096;
    if (record.op == TraceOp::flush) record.offset_bytes = record.length_bytes = 0;
    records.push_back(record);
  }
  return records;
}

TEST_F(TraceWriter, EveryLineIsReadPlainAndPacked) {
  const auto written = busy_disk(1, 20'000);
  for (const char* name : {"t.csv", "t.csv.zst", "t.csv.gz"}) {
    const std::string path = directory_ / name;
    auto file = PackedFile::create(path);
    ASSERT_TRUE(file) << file.error().message;
    CsvWriter writer;
    ASSERT_TRUE(file.value()->write(CsvWriter::header()));
    for (const TraceRecord& record : written) {
      std::string line;
      ASSERT_TRUE(writer.add(record, line));
      ASSERT_TRUE(file.value()->write(line));
    }
    ASSERT_TRUE(file.value()->close());
    auto reader = TraceReader::open(path, {});
    ASSERT_TRUE(reader) << reader.error().message;
    TimeNs ahead_ns = 0;
    for (const TraceRecord& record : written) {
      TraceRecord read;
      const auto more = reader.value()->next(read);
      ASSERT_TRUE(more) << name << ": " << more.error().message;
      ASSERT_TRUE(more.value());
      EXPECT_EQ(read.op, record.op);
      EXPECT_EQ(read.offset_bytes, record.offset_bytes);
      EXPECT_EQ(read.length_bytes, record.length_bytes);
      ahead_ns = std::max(ahead_ns, read.time_ns - record.time_ns);
    }
    TraceRecord none;
    EXPECT_FALSE(reader.value()->next(none).value());
    // Most requests meet another here; the clock runs on by a microsecond for each at most.
    EXPECT_LE(ahead_ns, 20 * kMillisecond);
  }
}

TEST_F(TraceWriter, LeavesOutWhatHasNoPlace) {
  CsvWriter writer;
  std::string out;
  EXPECT_FALSE(writer.add({0, 4096, 0, TraceOp::read}, out));
  EXPECT_FALSE(writer.add({0, kMaxTraceBytes, 4096, TraceOp::write}, out));
  EXPECT_FALSE(writer.add({0, UINT64_MAX, 4096, TraceOp::discard}, out));
  EXPECT_FALSE(writer.add({0, 0, kMaxTraceTransferBytes + 1, TraceOp::read}, out));
  EXPECT_TRUE(writer.add({0, 0, kMaxTraceLengthBytes, TraceOp::discard}, out));
  EXPECT_TRUE(writer.add({-5, 77, 99, TraceOp::flush}, out));
  EXPECT_EQ(out, "0,D,0,1099511627776\n0,F,0,0\n");
}

TEST_F(TraceWriter, NeverOverwrites) {
  const std::string path = directory_ / "t.csv";
  ASSERT_TRUE(PackedFile::create(path));
  const auto again = PackedFile::create(path);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::exists);
  EXPECT_THAT(again.error().message, HasSubstr("choose another name"));
  const auto nowhere = PackedFile::create(directory_ / "none" / "t.csv");
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, Errc::not_found);
}

TEST(IoTraceRing, CountsWhatFindsNoRoom) {
  IoTraceRing ring;
  for (uint64_t i = 0; i < IoTraceRing::kSlots + 3; ++i) ring.add({0, i, 1, IoOp::read});
  EXPECT_EQ(ring.lost(), 3u);
  std::vector<TracedIo> taken;
  ring.take(taken);
  ASSERT_EQ(taken.size(), IoTraceRing::kSlots);
  EXPECT_EQ(taken.back().offset, IoTraceRing::kSlots - 1);
  ring.add({0, 7, 1, IoOp::write});
  taken.clear();
  ring.take(taken);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].offset, 7u);
}

}  // namespace
}  // namespace latte::trace
