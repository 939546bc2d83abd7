#include "frontend/nbd_parser.h"

#include <gtest/gtest.h>

#include "nbd_harness.h"

namespace latte::nbd::test {
namespace {

std::span<const std::byte> first(const Bytes& bytes, size_t count) {
  return std::span(bytes).first(count);
}

TEST(NbdParser, RequestNeedsAllItsBytesAndTakesEachField) {
  Bytes wire;
  append(wire, RequestHeader{NBD_REQUEST_MAGIC, uint16_t{0x0102}, uint16_t{0x0304},
                             0x1122334455667788u, 0x99aabbccddeeff00u, 0xdeadbeefu});
  Request request;
  for (size_t i = 0; i < wire.size(); ++i)
    EXPECT_EQ(parse_request(first(wire, i), request), Parse::need_more) << i;
  ASSERT_EQ(parse_request(wire, request), Parse::complete);
  EXPECT_EQ(request.flags, 0x0102);
  EXPECT_EQ(request.type, 0x0304);
  EXPECT_EQ(request.cookie, 0x1122334455667788u);
  EXPECT_EQ(request.offset, 0x99aabbccddeeff00u);
  EXPECT_EQ(request.length, 0xdeadbeefu);
  // Big-endian on the wire: the magic's first byte is its highest.
  EXPECT_EQ(wire[0], std::byte{0x25});
  EXPECT_EQ(wire[27], std::byte{0xef});
}

TEST(NbdParser, WrongMagicIsBadAtItsFourthByte) {
  Bytes wire(4, std::byte{0});
  Request request;
  EXPECT_EQ(parse_request(first(wire, 3), request), Parse::need_more);
  EXPECT_EQ(parse_request(wire, request), Parse::bad);
  Option option;
  wire.resize(8);
  EXPECT_EQ(parse_option(wire, option), Parse::bad);
}

TEST(NbdParser, OptionWithItsData) {
  Bytes wire;
  append_option(wire, NBD_OPT_LIST, Bytes(5, std::byte{7}));
  Option option;
  for (size_t i = 0; i < wire.size(); ++i)
    EXPECT_EQ(parse_option(first(wire, i), option), Parse::need_more) << i;
  wire.push_back(std::byte{9});  // the next message's
  ASSERT_EQ(parse_option(wire, option), Parse::complete);
  EXPECT_EQ(option.code, NBD_OPT_LIST);
  EXPECT_EQ(option.data.size(), 5u);
  EXPECT_EQ(option.wire_bytes(), wire.size() - 1);
}

TEST(NbdParser, OptionOverTheLimitIsBadBeforeItsData) {
  Bytes wire;
  append(wire, OptionHeader{IHAVEOPT, NBD_OPT_GO, kMaxOptionBytes});
  Option option;
  EXPECT_EQ(parse_option(wire, option), Parse::need_more);
  wire.clear();
  append(wire, OptionHeader{IHAVEOPT, NBD_OPT_GO, kMaxOptionBytes + 1});
  EXPECT_EQ(parse_option(wire, option), Parse::bad);
  EXPECT_EQ(option.length, kMaxOptionBytes + 1);
}

TEST(NbdParser, ClientFlags) {
  Bytes wire;
  append(wire, Be32(3));
  uint32_t flags = 0;
  EXPECT_EQ(parse_client_flags(first(wire, 3), flags), Parse::need_more);
  EXPECT_EQ(parse_client_flags(wire, flags), Parse::complete);
  EXPECT_EQ(flags, 3u);
  wire.clear();
  append(wire, Be32(4));
  EXPECT_EQ(parse_client_flags(wire, flags), Parse::bad);
}

TEST(NbdParser, InfoRequest) {
  const Bytes data = info_data("disk", {NBD_INFO_BLOCK_SIZE, 77, NBD_INFO_NAME});
  InfoRequest info;
  ASSERT_TRUE(parse_info_request(data, info));
  EXPECT_EQ(info.export_name, "disk");
  EXPECT_TRUE(info.wants_block_size);
  EXPECT_TRUE(info.wants_name);
  EXPECT_FALSE(info.wants_description);
}

TEST(NbdParser, InfoRequestMalformed) {
  const Bytes good = info_data("disk", {NBD_INFO_NAME, NBD_INFO_BLOCK_SIZE});
  InfoRequest info;
  for (size_t i = 0; i < good.size(); ++i)
    EXPECT_FALSE(parse_info_request(first(good, i), info)) << i;
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(parse_info_request(longer, info));
  Bytes name_beyond = good;
  name_beyond[0] = std::byte{0xff};  // the name's length: almost 4 GiB
  EXPECT_FALSE(parse_info_request(name_beyond, info));
  EXPECT_FALSE(parse_info_request(info_data(std::string_view("a\0b", 3)), info));
  EXPECT_TRUE(parse_info_request(info_data(std::string(NBD_MAX_STRING, 'x')), info));
  EXPECT_FALSE(parse_info_request(info_data(std::string(NBD_MAX_STRING + 1, 'x')), info));
}

TEST(NbdParser, MetaRequest) {
  const Bytes data = meta_data("disk", {"base:allocation", "qemu:", ""});
  MetaRequest meta;
  ASSERT_TRUE(parse_meta_request(data, meta));
  EXPECT_EQ(meta.export_name, "disk");
  EXPECT_EQ(meta.query_count, 3u);
  std::vector<std::string> queries;
  std::string_view query;
  while (next_query(meta.queries, query)) queries.emplace_back(query);
  EXPECT_EQ(queries, (std::vector<std::string>{"base:allocation", "qemu:", ""}));
  for (size_t i = 0; i < data.size(); ++i)
    EXPECT_FALSE(parse_meta_request(first(data, i), meta)) << i;
}

TEST(NbdParser, MetaRequestWithACountThatLies) {
  Bytes data;
  append_string(data, "disk");
  append(data, Be32(UINT32_MAX));
  MetaRequest meta;
  EXPECT_FALSE(parse_meta_request(data, meta));  // and at once
}

}  // namespace
}  // namespace latte::nbd::test
