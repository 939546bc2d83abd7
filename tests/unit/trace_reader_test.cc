// Trace readers: every form, packed or not, and everything a bad trace can hold.
#include "trace/trace_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cstring>
#include <fstream>
#include <vector>

#include "trace/vscsi_format.h"

namespace latte::trace {
namespace {

using ::testing::HasSubstr;

struct Outcome {
  std::vector<TraceRecord> records;
  std::string error;
  TraceCounts counts;
  TraceFormat format{};
};

Outcome read_all(const std::string& bytes, TraceOptions options = {}) {
  Outcome outcome;
  auto reader = TraceReader::of_memory(bytes, "t.trace", options);
  if (!reader) {
    outcome.error = reader.error().message;
    return outcome;
  }
  outcome.format = reader.value()->format();
  TraceRecord record;
  for (;;) {
    const auto more = reader.value()->next(record);
    if (!more) outcome.error = more.error().message;
    if (!more || !more.value()) break;
    outcome.records.push_back(record);
  }
  outcome.counts = reader.value()->counts();
  return outcome;
}

TraceOptions lenient() {
  TraceOptions options;
  options.lenient = true;
  return options;
}

void expect_record(const TraceRecord& record, TraceOp op, TimeNs time_ns, uint64_t offset,
                   uint64_t length) {
  EXPECT_EQ(record.op, op);
  EXPECT_EQ(record.time_ns, time_ns);
  EXPECT_EQ(record.offset_bytes, offset);
  EXPECT_EQ(record.length_bytes, length);
}

TEST(TraceReader, OwnForm) {
  const auto got = read_all(
      "timestamp_us,op,offset_bytes,length_bytes\n1000,R,4096,512\n1001,W,0,8192\r\n"
      "1001,D,65536,4096\n1002,F,0,0\n");
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.format, TraceFormat::csv);
  ASSERT_EQ(got.records.size(), 4u);
  expect_record(got.records[0], TraceOp::read, 0, 4096, 512);
  expect_record(got.records[1], TraceOp::write, 1000, 0, 8192);
  expect_record(got.records[2], TraceOp::discard, 1000, 65536, 4096);
  EXPECT_EQ(got.records[3].op, TraceOp::flush);
}

TEST(TraceReader, OwnFormWithoutHeaderAndLastNewline) {
  const auto got = read_all("7,R,4096,512\n8,W,0,4096");
  EXPECT_EQ(got.error, "");
  ASSERT_EQ(got.records.size(), 2u);
  expect_record(got.records[1], TraceOp::write, 1000, 0, 4096);
}

TEST(TraceReader, Msr) {
  const auto got = read_all(
      "128166372003061629,usr,0,Read,7014609920,24576,41286\n"
      "128166372016382155,usr,0,Write,1317441536,8192,1963\n");
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.format, TraceFormat::msr);
  ASSERT_EQ(got.records.size(), 2u);
  expect_record(got.records[0], TraceOp::read, 0, 7014609920, 24576);
  expect_record(got.records[1], TraceOp::write, 1'332'052'600, 1317441536, 8192);
}

TEST(TraceReader, MsrOtherDiskIsAnErrorThatNamesBoth) {
  const std::string text =
      "1,usr,0,Read,0,4096,1\n2,usr,1,Read,4096,4096,1\n3,usr,0,Read,8192,4096,1\n";
  const auto got = read_all(text);
  EXPECT_THAT(got.error, HasSubstr("t.trace, line 2: other device: it is of usr.1"));
  EXPECT_THAT(got.error, HasSubstr("usr.0"));
  TraceOptions options = lenient();
  options.parser.device = "usr.1";
  const auto chosen = read_all(text, options);
  ASSERT_EQ(chosen.records.size(), 1u);
  EXPECT_EQ(chosen.records[0].offset_bytes, 4096u);
  EXPECT_EQ(chosen.counts.describe_skipped(), "2 other device");
}

TEST(TraceReader, FioVersion2WaitsAddUp) {
  const auto got = read_all(
      "fio version 2 iolog\n/dev/a add\n/dev/a open\n/dev/a read 0 4096\n/dev/a wait 250\n"
      "/dev/a write 4096 4096\n/dev/a write 4096 4096\n/dev/a sync\n/dev/a trim 0 512\n/dev/a "
      "close\n");
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.format, TraceFormat::fio);
  ASSERT_EQ(got.records.size(), 5u);
  expect_record(got.records[0], TraceOp::read, 0, 0, 4096);
  expect_record(got.records[1], TraceOp::write, 250'000, 4096, 4096);
  EXPECT_EQ(got.records[3].op, TraceOp::flush);
  EXPECT_EQ(got.records[4].op, TraceOp::discard);
}

TEST(TraceReader, FioVersion3) {
  const auto got = read_all(
      "fio version 3 iolog\n0 a add\n1 a open\n7 a read 512 4096\n9 a datasync 0 0\n"
      "10 a write 0 1024\n11 a close\n");
  EXPECT_EQ(got.error, "");
  ASSERT_EQ(got.records.size(), 3u);
  expect_record(got.records[2], TraceOp::write, 3'000, 0, 1024);
}

TEST(TraceReader, Blkparse) {
  const std::string text =
      "  8,0    3        1     0.000000000   697  Q   R 223490 + 8 [kjournald]\n"
      "  8,0    3        2     0.000001829   697  G   R 223490 + 8 [kjournald]\n"
      "  8,0    3        3     0.000002500   697  Q  WS 16 + 1 [a b]\n"
      "  8,0    3        4     0.000003000   697  Q  FWS [kjournald]\n"
      "  8,0    3        5     0.000004000   697  Q   D 0 + 64 [fstrim]\n"
      "  8,0    3        6     0.000004500   697  D   R 223490 + 8 [kjournald]\n"
      "CPU0 (sda):\n Reads Queued:           1,        4KiB\n";
  const auto got = read_all(text);
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.format, TraceFormat::blkparse);
  ASSERT_EQ(got.records.size(), 4u);
  expect_record(got.records[0], TraceOp::read, 0, 223490 * 512, 4096);
  expect_record(got.records[1], TraceOp::write, 2500, 8192, 512);
  EXPECT_EQ(got.records[2].op, TraceOp::flush);
  expect_record(got.records[3], TraceOp::discard, 4000, 0, 32768);
  TraceOptions options;
  options.parser.blkparse_event = 'D';
  EXPECT_EQ(read_all(text, options).records.size(), 1u);
  options.parser.blkparse_event = 'C';
  EXPECT_THAT(read_all(text, options).error, HasSubstr("no event C, but QGD; choose with --event"));
}

template <typename Record>
std::string vscsi_bytes(const std::vector<Record>& records) {
  return {reinterpret_cast<const char*>(records.data()), records.size() * sizeof(Record)};
}

TEST(TraceReader, VscsiBothVersions) {
  std::vector<VscsiRecord1> one(3);
  one[0] = {1, 4096, 1, 0x28, 0x0100, 8, 500};
  one[1] = {2, 0, 1, 0x12, 0x0100, 0, 501};  // an inquiry
  one[2] = {3, 1024, 1, 0x8a, 0x0100, 16, 502};
  auto got = read_all(vscsi_bytes(one));
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.format, TraceFormat::vscsi1);
  ASSERT_EQ(got.records.size(), 2u);
  expect_record(got.records[1], TraceOp::write, 2'000, 8192, 1024);

  std::vector<VscsiRecord2> two(2);
  two[0] = {0x2a, 0x0200, 1, 4096, 1, 8, 500, 90};
  two[1] = {0x08, 0x0200, 2, 512, 1, 0, 700, 90};
  got = read_all(vscsi_bytes(two));
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.format, TraceFormat::vscsi2);
  ASSERT_EQ(got.records.size(), 2u);
  expect_record(got.records[0], TraceOp::write, 0, 4096, 4096);

  const std::string cut = vscsi_bytes(two).substr(0, 79);
  EXPECT_THAT(read_all(cut).error, HasSubstr("record 2: truncated: 39 of its 40 bytes"));
  EXPECT_EQ(read_all(cut, lenient()).counts.describe_skipped(), "1 truncated");
}

std::string zstd(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(text.size() + 1024, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(packed.size() - stream.avail_out);
  deflateEnd(&stream);
  return packed;
}

std::string long_trace(uint64_t lines) {
  std::string text;
  for (uint64_t i = 0; i < lines; ++i)
    text += std::to_string(i) + ",R," + std::to_string(i * 7919 % 1000 * 4096) + ",4096\n";
  return text;
}

TEST(TraceReader, PackedFormsGiveTheSame) {
  const std::string text = long_trace(100'000);
  for (const std::string& packed : {zstd(text), gzip(text)}) {
    const auto got = read_all(packed);
    EXPECT_EQ(got.error, "");
    ASSERT_EQ(got.records.size(), 100'000u);
    expect_record(got.records.back(), TraceOp::read, 99'999'000, 99'999 * 7919 % 1000 * 4096, 4096);
  }
  // Several frames or members one behind another, as `cat` of two files gives.
  EXPECT_EQ(read_all(zstd("1,R,0,512\n") + zstd("2,R,0,512\n")).records.size(), 2u);
  EXPECT_EQ(read_all(gzip("1,R,0,512\n") + gzip("2,R,0,512\n")).records.size(), 2u);
}

TEST(TraceReader, PackedFilesThatAreCutOffOrBroken) {
  const std::string text = long_trace(100'000);
  for (std::string packed : {zstd(text), gzip(text)}) {
    const std::string cut = packed.substr(0, packed.size() / 2);
    EXPECT_THAT(read_all(cut).error, HasSubstr("ends in its middle"));
    const auto got = read_all(cut, lenient());
    EXPECT_EQ(got.error, "");
    EXPECT_GT(got.records.size(), 10'000u);
    EXPECT_EQ(got.counts.skipped[static_cast<size_t>(TraceFault::truncated)], 1u);
    packed[packed.size() / 2] = static_cast<char>(packed[packed.size() / 2] ^ 0x55);
    packed[packed.size() / 2 + 1] = static_cast<char>(packed[packed.size() / 2 + 1] ^ 0x55);
    EXPECT_NE(read_all(packed).error, "");
  }
}

struct BadTrace {
  const char* text;
  const char* error;
  TraceFault fault;
  size_t kept;
};

TEST(TraceReader, BadRecordsAreErrorsWithTheirLineOrCountedSkips) {
  const BadTrace cases[] = {
      {"1,R,0,512\nrubbish\n2,R,0,512\n", "line 2: garbage", TraceFault::garbage, 2},
      {"1,R,0,512\n2,X,0,512\n", "line 2: garbage: operation \"X\"", TraceFault::garbage, 1},
      {"1,R,0,512\n2,R,-4096,512\n", "offset \"-4096\" is no number", TraceFault::garbage, 1},
      {"1,R,0,512\n2,R,0,512,9\n", "does not have 4 fields", TraceFault::garbage, 1},
      {"1,R,0,512\n2,R,40", "line 2: truncated", TraceFault::truncated, 1},
      {"5,R,0,512\n4,R,0,512\n6,R,0,512\n", "line 2: out of order: 1000 ns before",
       TraceFault::out_of_order, 2},
      {"5,R,0,8192\n5,W,4096,512\n6,R,0,512\n", "line 2: overlapping", TraceFault::overlapping, 2},
      {"1,R,9223372036854775808,512\n2,R,0,512\n", "line 1: offset beyond 2^63",
       TraceFault::out_of_range, 1},
      {"1,R,9223372036854775296,1024\n2,R,0,512\n", "line 1: offset beyond 2^63",
       TraceFault::out_of_range, 1},
      {"1,R,99999999999999999999999,512\n2,R,0,512\n", "line 1: offset beyond 2^63",
       TraceFault::out_of_range, 1},
      {"1,R,4096,0\n2,R,0,512\n", "line 1: zero length: at offset 4096", TraceFault::zero_length,
       1},
      {"1,R,0,1073741825\n2,R,0,512\n", "line 1: too long", TraceFault::too_long, 1},
      {"1,D,0,1099511627777\n2,D,0,1099511627776\n", "line 1: too long", TraceFault::too_long, 1},
  };
  for (const BadTrace& bad : cases) {
    const auto strict = read_all(bad.text);
    EXPECT_THAT(strict.error, HasSubstr(bad.error)) << bad.text;
    EXPECT_THAT(strict.error, HasSubstr("t.trace")) << bad.text;
    EXPECT_THAT(strict.error, HasSubstr("--lenient")) << bad.text;
    const auto skipped = read_all(bad.text, lenient());
    EXPECT_EQ(skipped.error, "") << bad.text;
    EXPECT_EQ(skipped.records.size(), bad.kept) << bad.text;
    EXPECT_EQ(skipped.counts.skipped[static_cast<size_t>(bad.fault)], 1u) << bad.text;
    EXPECT_EQ(skipped.counts.skipped_total(), 1u) << bad.text;
    EXPECT_THAT(skipped.counts.first_skipped, HasSubstr(bad.error)) << bad.text;
  }
}

TEST(TraceReader, ReadsOfOneInstantMayMeetAndSoMayDistinctWrites) {
  EXPECT_EQ(read_all("1,R,0,8192\n1,R,4096,512\n1,W,8192,512\n1,W,8704,512\n").error, "");
}

TEST(TraceReader, TimesAreCountedFromTheFirstRecordHoweverFarAway) {
  EXPECT_EQ(read_all("18446744073709551615,R,0,512\n18446744073709551615,R,0,512\n").error, "");
  EXPECT_THAT(read_all("0,R,0,512\n18446744073709551614,R,0,512\n").error, HasSubstr("centuries"));
}

TEST(TraceReader, OverlongLine) {
  const std::string text = "1,R,0,512\n" + std::string(1 << 20, 'x') + "\n2,R,0,512\n";
  EXPECT_THAT(read_all(text).error, HasSubstr("line 2: garbage: the line is longer"));
  EXPECT_EQ(read_all(text, lenient()).records.size(), 2u);
}

TEST(TraceReader, UnknownFormIsAnErrorAndCanBeNamed) {
  EXPECT_THAT(read_all("hello world\n").error, HasSubstr("name the form with --format"));
  EXPECT_THAT(read_all(std::string("\x01\x02\0\0", 4)).error, HasSubstr("--format"));
  TraceOptions options = lenient();
  options.format = TraceFormat::csv;
  EXPECT_EQ(read_all("hello world\n1,R,0,512\n", options).records.size(), 1u);
}

TEST(TraceReader, EmptyTraceHasNoRecords) {
  EXPECT_EQ(read_all("").error, "");
  EXPECT_EQ(read_all("\n\n", lenient()).records.size(), 0u);
}

TEST(TraceReader, Files) {
  EXPECT_FALSE(TraceReader::open("/nonexistent/trace", {}).ok());
  const std::string path = ::testing::TempDir() + "latte_trace_" + std::to_string(::getpid());
  const std::string packed = zstd(long_trace(1000));
  std::ofstream(path, std::ios::binary) << packed;
  auto reader = TraceReader::open(path, {});
  ASSERT_TRUE(reader.ok());
  TraceRecord record;
  uint64_t count = 0;
  for (auto more = reader.value()->next(record); more.ok() && more.value();
       more = reader.value()->next(record))
    ++count;
  EXPECT_EQ(count, 1000u);
  EXPECT_EQ(reader.value()->consumed_bytes(), packed.size());
  EXPECT_EQ(reader.value()->total_bytes(), packed.size());
  ::unlink(path.c_str());
  EXPECT_THAT(TraceReader::open(::testing::TempDir(), {}).error().message, HasSubstr("failed"));
}

}  // namespace
}  // namespace latte::trace
