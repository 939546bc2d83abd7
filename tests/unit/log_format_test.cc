// The log's bytes: what is sealed parses again, and everything else is refused for a reason.
#include "log/log_format.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/buffer.h"
#include "base/crc32c.h"

namespace latte::log {
namespace {

template <typename Structure>
std::span<const std::byte> bytes_of(const Structure& structure) {
  return std::as_bytes(std::span(&structure, 1));
}

SpaceSuper good_space() {
  SpaceSuper super{};
  super.kind = SpaceKind::pool;
  super.segment_bytes = 1u << 20;
  super.segment_count = 8;
  super.first_segment_offset = 64u << 10;
  super.counter = 3;
  super.streams[0].disk_id = Uuid::from_random(1, 2);
  std::strcpy(super.streams[0].name, "db");
  return super;
}

CloudSuper good_cloud() {
  CloudSuper super{};
  super.disk_id = Uuid::from_random(3, 4);
  super.size_bytes = 1u << 30;
  super.generation = 5;
  super.epoch = 4;
  std::strcpy(super.name, "db");
  return super;
}

TEST(LogFormat, SuperblocksComeBackAsTheyWereSealed) {
  auto space = good_space();
  seal(space);
  const auto parsed = parse_space_super(bytes_of(space), "pool.img");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.value().segment_count, 8u);
  EXPECT_STREQ(parsed.value().streams[0].name, "db");
  auto cloud = good_cloud();
  seal(cloud);
  const auto second = parse_cloud_super(bytes_of(cloud), "cloud");
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second.value().generation, 5u);
}

TEST(LogFormat, EveryFlippedBitOfASuperblockIsNoticed) {
  auto space = good_space();
  seal(space);
  auto cloud = good_cloud();
  seal(cloud);
  for (size_t bit = 0; bit < kBlockBytes * 8; ++bit) {
    auto flip = [&](auto structure) {
      reinterpret_cast<uint8_t*>(&structure)[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
      return structure;
    };
    EXPECT_FALSE(parse_space_super(bytes_of(flip(space)), "x").ok()) << bit;
    EXPECT_FALSE(parse_cloud_super(bytes_of(flip(cloud)), "x").ok()) << bit;
  }
}

TEST(LogFormat, NoSuperblockAnotherVersionAndDamageAreToldApart) {
  const SpaceSuper none{};
  EXPECT_EQ(parse_space_super(bytes_of(none), "x").error().code, Errc::not_found);
  auto newer = good_space();
  seal(newer);
  newer.version = kFormatVersion + 1;
  newer.crc = 0;
  newer.crc = crc32c(bytes_of(newer));
  const auto error = parse_space_super(bytes_of(newer), "pool.img").error();
  EXPECT_EQ(error.code, Errc::unsupported);
  EXPECT_NE(error.message.find("pool.img: format version 2"), std::string::npos);
  auto damaged = good_space();
  seal(damaged);
  damaged.counter = 77;
  EXPECT_EQ(parse_space_super(bytes_of(damaged), "x").error().code, Errc::damaged);
  EXPECT_EQ(parse_space_super(bytes_of(damaged).first(100), "x").error().code, Errc::damaged);
}

TEST(LogFormat, ADiskThatIsBeingRolledBackIsForTheRollbackOnly) {
  auto super = good_cloud();
  seal_rolling_back(super);
  const auto error = parse_cloud_super(bytes_of(super), "x").error();
  EXPECT_EQ(error.code, Errc::unsupported);
  EXPECT_NE(error.message.find("snapshot rollback"), std::string::npos);
  const auto again = parse_cloud_super_to_roll_back(bytes_of(super), "x");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again.value().version, kRollingBackVersion);
  seal(super);
  EXPECT_TRUE(parse_cloud_super_to_roll_back(bytes_of(super), "x").ok());
}

TEST(LogFormat, FieldsOutOfRangeAreDamageEvenWithAGoodChecksum) {
  const std::function<void(SpaceSuper&)> space_cases[] = {
      [](SpaceSuper& s) { s.kind = static_cast<SpaceKind>(3); },
      [](SpaceSuper& s) { s.segment_bytes = 4096; },
      [](SpaceSuper& s) { s.segment_bytes = 3u << 20; },
      [](SpaceSuper& s) { s.segment_count = 1; },
      [](SpaceSuper& s) { s.segment_count = 1ull << 32; },
      [](SpaceSuper& s) { s.first_segment_offset = 4096; },
      [](SpaceSuper& s) { s.first_segment_offset = 10000; },
      [](SpaceSuper& s) { std::memset(s.streams[3].name, 'x', kNameBytes); },
      [](SpaceSuper& s) { s.streams[0].tail_order = UINT64_MAX; },
      [](SpaceSuper& s) { s.streams[9].disk_id = s.streams[0].disk_id; },
  };
  for (const auto& change : space_cases) {
    auto super = good_space();
    change(super);
    seal(super);
    const auto parsed = parse_space_super(bytes_of(super), "x");
    ASSERT_FALSE(parsed.ok());
    EXPECT_EQ(parsed.error().code, Errc::damaged);
  }
  const std::function<void(CloudSuper&)> cloud_cases[] = {
      [](CloudSuper& s) { s.size_bytes = 0; },
      [](CloudSuper& s) { s.size_bytes = 5000; },
      [](CloudSuper& s) { s.size_bytes = 1ull << 51; },
      [](CloudSuper& s) { s.disk_id = Uuid{}; },
      [](CloudSuper& s) { s.generation = UINT64_MAX; },
      [](CloudSuper& s) { s.epoch = s.generation + 1; },
      [](CloudSuper& s) { std::memset(s.name, 'x', kNameBytes); },
  };
  for (const auto& change : cloud_cases) {
    auto super = good_cloud();
    change(super);
    seal(super);
    EXPECT_FALSE(parse_cloud_super(bytes_of(super), "x").ok());
  }
}

TEST(LogFormat, SegmentHeadersWithCountersNearOverflowAreNone) {
  SegmentHeader header{};
  header.order = 7;
  seal(header);
  SegmentHeader out;
  EXPECT_TRUE(parse_segment_header(bytes_of(header), out));
  EXPECT_EQ(out.order, 7u);
  header.order = 7;
  header.wall_time_ns = -1;
  seal(header);
  EXPECT_FALSE(parse_segment_header(bytes_of(header), out));
  header.wall_time_ns = 0;
  header.order = UINT64_MAX;
  seal(header);
  EXPECT_FALSE(parse_segment_header(bytes_of(header), out));
}

/// A record of two data blocks and a discard, at block 1 of a segment of 64.
struct Record {
  Record() : bytes(kBlockBytes) {
    std::memset(bytes.data(), 0, bytes.size());
    header.magic = kRecordMagic;
    header.salt = 99;
    header.block = 1;
    header.header_blocks = 1;
    header.data_blocks = 2;
    header.entry_count = 2;
    entries[0] = Entry{10, 100, 2, EntryKind::data, 0, {}};
    entries[1] = Entry{11, 7, 500, EntryKind::zero, 0, {}};
  }
  bool parses() {
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::memcpy(bytes.data() + sizeof(header), entries, sizeof(entries));
    seal_record(bytes.span());
    return parse();
  }
  bool parse() { return parse_record(bytes.span(), 99, 1, 64, view, need); }

  RecordHeader header{};
  Entry entries[2]{};
  Buffer bytes;
  RecordView view;
  uint32_t need = 0;
};

TEST(LogFormat, RecordsComeBackAsTheyWereSealed) {
  Record record;
  ASSERT_TRUE(record.parses());
  EXPECT_EQ(record.view.total_blocks(), 3u);
  ASSERT_EQ(record.view.entries.size(), 2u);
  EXPECT_EQ(record.view.entries[1].count, 500u);
  EXPECT_EQ(record.view.crcs.size(), 2u);
  record.bytes.data()[3000] ^= std::byte{1};
  EXPECT_FALSE(record.parse());
}

TEST(LogFormat, RecordsOfAnotherLifeOrPlaceAreRefused) {
  Record record;
  ASSERT_TRUE(record.parses());
  EXPECT_FALSE(parse_record(record.bytes.span(), 98, 1, 64, record.view, record.need));
  EXPECT_FALSE(parse_record(record.bytes.span(), 99, 2, 64, record.view, record.need));
  EXPECT_FALSE(parse_record(record.bytes.span(), 99, 1, 3, record.view, record.need));
}

TEST(LogFormat, RecordsWithFieldsOutOfRangeAreRefused) {
  const std::function<void(Record&)> cases[] = {
      [](Record& r) { r.header.entry_count = kMaxRecordEntries + 1; },
      [](Record& r) { r.header.data_blocks = kMaxRecordDataBlocks + 1; },
      [](Record& r) { r.header.data_blocks = 3; },
      [](Record& r) { r.header.header_blocks = 2; },
      [](Record& r) { r.header.wall_time_ns = INT64_MIN; },
      [](Record& r) { r.entries[0].kind = static_cast<EntryKind>(8); },
      [](Record& r) { r.entries[0].count = 0; },
      [](Record& r) { r.entries[1].lba = 1ull << 60; },
      [](Record& r) { r.entries[1].seq = UINT64_MAX; },
      [](Record& r) { r.entries[1] = Entry{5, 0, 0, EntryKind::empty, 0, {}}; },
  };
  for (const auto& change : cases) {
    Record record;
    change(record);
    EXPECT_FALSE(record.parses());
  }
}

TEST(LogFormat, ALongHeaderAsksForItsBlocks) {
  Record record;
  record.header.entry_count = 1000;
  record.header.header_blocks = record_header_blocks(1000, 2);
  EXPECT_FALSE(record.parses());
  EXPECT_EQ(record.need, record.header.header_blocks);
}

TEST(LogFormat, TablesAreRefusedUnlessTheyAddUp) {
  Buffer bytes(kBlockBytes);
  std::memset(bytes.data(), 0, bytes.size());
  TableEntry item{Entry{10, 100, 2, EntryKind::data, 0, {}}, 1, 2};
  SegmentFooter footer{};
  footer.entry_count = 1;
  footer.data_blocks = 2;
  footer.table_blocks = 1;
  footer.used_blocks = 4;
  TableView table;
  const auto parses = [&] {
    std::memcpy(bytes.data(), &item, sizeof(item));
    footer.table_crc = crc32c(bytes.span());
    seal(footer);
    SegmentFooter out;
    return parse_segment_footer(bytes_of(footer), 64, out) &&
           parse_table(bytes.span(), out, 64, table);
  };
  ASSERT_TRUE(parses());
  EXPECT_EQ(table.entries[0].entry.lba, 100u);
  item.data_block = 63;
  EXPECT_FALSE(parses());
  item.data_block = 2;
  item.record_block = 64;
  EXPECT_FALSE(parses());
  item.record_block = 1;
  item.entry.count = 3;
  EXPECT_FALSE(parses());
  item.entry.count = 2;
  footer.used_blocks = 63;
  EXPECT_FALSE(parses());
  footer.used_blocks = 4;
  ASSERT_TRUE(parses());
  bytes.data()[2000] ^= std::byte{1};
  EXPECT_FALSE(parse_table(bytes.span(), footer, 64, table));
}

TEST(LogFormat, ABlocksChecksumIsBoundToItsPlaceAndWrite) {
  EXPECT_EQ(unbound_crc(bound_crc(123, Lba(4), Seq(5)), Lba(4), Seq(5)), 123u);
  EXPECT_NE(bound_crc(123, Lba(4), Seq(5)), bound_crc(123, Lba(5), Seq(5)));
  EXPECT_NE(bound_crc(123, Lba(4), Seq(5)), bound_crc(123, Lba(4), Seq(6)));
}

}  // namespace
}  // namespace latte::log
