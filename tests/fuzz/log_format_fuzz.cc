// Fuzzes the parsers of the log format: arbitrary bytes, as they are and with magic, version and
// checksum made to fit. What must hold: no byte outside the input is read, and what parses keeps
// the limits that its readers rely on.
//
// Input: a byte that names the structure (bit 7: make the checksums fit), then its bytes; what is
// missing is zero.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/buffer.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "log/log_format.h"

namespace latte::log {
namespace {

constexpr uint32_t kSegmentBlocks = 1024;

template <typename Structure>
void seal_as(Structure& structure, bool forge) {
  if (forge) seal(structure);
}

template <typename Structure>
std::span<const std::byte> bytes_of(const Structure& structure) {
  return std::as_bytes(std::span(&structure, 1));
}

void check_space_super(SpaceSuper super, bool forge) {
  seal_as(super, forge);
  const auto parsed = parse_space_super(bytes_of(super), "fuzz");
  if (!parsed) {
    LATTE_CHECK(!parsed.error().message.empty());
    return;
  }
  const SpaceSuper& good = parsed.value();
  LATTE_CHECK(good.segment_bytes % kBlockBytes == 0 && good.segment_bytes >= kMinSegmentBytes);
  LATTE_CHECK(good.segment_count >= 2);
  // Addresses and offsets are sums and products of these.
  LATTE_CHECK(good.segment_count * (good.segment_bytes / kBlockBytes) < (1ull << 48) - 1);
  for (const StreamSlot& slot : good.streams)
    LATTE_CHECK(std::memchr(slot.name, 0, sizeof(slot.name)) != nullptr);
}

void check_cloud_super(CloudSuper super, bool forge) {
  seal_as(super, forge);
  const auto parsed = parse_cloud_super(bytes_of(super), "fuzz");
  if (!parsed) {
    LATTE_CHECK(!parsed.error().message.empty());
    return;
  }
  const CloudSuper& good = parsed.value();
  LATTE_CHECK(good.size_bytes > 0 && good.size_bytes % kBlockBytes == 0);
  LATTE_CHECK(!good.disk_id.is_nil());
  // The next owner's generation must fit.
  LATTE_CHECK(good.generation < good.generation + 1 && good.epoch <= good.generation);
}

void check_entries(const Entry& entry) {
  LATTE_CHECK(entry.kind >= EntryKind::data && entry.kind <= EntryKind::copy);
  if (has_data(entry.kind)) LATTE_CHECK(entry.count > 0 && entry.count <= kMaxRecordDataBlocks);
  LATTE_CHECK(entry.seq + entry.count >= entry.seq && entry.lba + entry.count >= entry.lba);
  LATTE_CHECK(last_seq_of(entry) + 1 != 0);
}

void check_record(std::span<std::byte> bytes, bool forge) {
  RecordHeader header;
  if (bytes.size() < kBlockBytes) return;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (forge) {
    header.magic = kRecordMagic;
    header.block %= kSegmentBlocks;
    header.entry_count %= kMaxRecordEntries + 2;
    header.data_blocks %= kMaxRecordDataBlocks + 2;
    header.header_blocks = record_header_blocks(header.entry_count, header.data_blocks);
    std::memcpy(bytes.data(), &header, sizeof(header));
    const size_t length = size_t{header.header_blocks} * kBlockBytes;
    if (length <= bytes.size()) seal_record(bytes.first(length));
  }
  RecordView view;
  uint32_t need = 0;
  const bool valid = parse_record(bytes, header.salt, header.block, kSegmentBlocks, view, need);
  LATTE_CHECK(need <= kMaxHeaderBlocks);
  if (!valid) return;
  LATTE_CHECK(uint64_t{view.header.block} + view.total_blocks() <= kSegmentBlocks);
  LATTE_CHECK(size_t{view.header.header_blocks} * kBlockBytes <= bytes.size());
  LATTE_CHECK(view.entries.size() == view.header.entry_count);
  LATTE_CHECK(view.crcs.size() == view.header.data_blocks);
  uint64_t data_blocks = 0;
  for (const Entry& entry : view.entries) {
    check_entries(entry);
    if (has_data(entry.kind)) data_blocks += entry.count;
  }
  LATTE_CHECK(data_blocks == view.crcs.size());
}

void check_table(SegmentFooter footer, std::span<const std::byte> bytes, bool forge) {
  if (forge) {
    const uint64_t most = kSegmentBlocks * uint64_t{kBlockBytes} / sizeof(TableEntry);
    footer.entry_count = static_cast<uint32_t>(footer.entry_count % most);
    footer.data_blocks %= kSegmentBlocks;
    footer.table_blocks =
        static_cast<uint32_t>(table_blocks(footer.entry_count, footer.data_blocks));
    const size_t length = std::min(bytes.size(), size_t{footer.table_blocks} * kBlockBytes);
    footer.table_crc = crc32c(bytes.first(length));
    seal(footer);
  }
  SegmentFooter parsed;
  if (!parse_segment_footer(bytes_of(footer), kSegmentBlocks, parsed)) return;
  LATTE_CHECK(uint64_t{parsed.used_blocks} + parsed.table_blocks + 1 <= kSegmentBlocks);
  const size_t length = size_t{parsed.table_blocks} * kBlockBytes;
  TableView table;
  if (!parse_table(bytes.first(std::min(length, bytes.size())), parsed, kSegmentBlocks, table))
    return;
  LATTE_CHECK(length <= bytes.size());
  uint64_t data_blocks = 0;
  for (const TableEntry& item : table.entries) {
    check_entries(item.entry);
    LATTE_CHECK(item.record_block < kSegmentBlocks);
    if (!has_data(item.entry.kind)) continue;
    data_blocks += item.entry.count;
    LATTE_CHECK(item.data_block + item.entry.count <= kSegmentBlocks);
  }
  LATTE_CHECK(data_blocks == table.crcs.size());
}

/// The front of the input as a structure, which it is then cut off from.
template <typename Structure>
Structure take(std::span<const std::byte>& input) {
  Structure out{};
  const size_t length = std::min(input.size(), sizeof(out));
  std::memcpy(static_cast<void*>(&out), input.data(), length);
  input = input.subspan(length);
  return out;
}

}  // namespace
}  // namespace latte::log

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace latte;
  using namespace latte::log;
  if (size == 0) return 0;
  auto input = std::as_bytes(std::span(data, size)).subspan(1);
  const bool forge = (data[0] & 0x80) != 0;
  // Too short for any structure: must be seen before anything is read.
  LATTE_CHECK(input.size() >= kBlockBytes || !parse_space_super(input, "fuzz").ok());
  LATTE_CHECK(input.size() >= kBlockBytes || !parse_cloud_super(input, "fuzz").ok());
  switch (data[0] % 8) {
    case 0:
      check_space_super(take<SpaceSuper>(input), forge);
      break;
    case 1:
      check_cloud_super(take<CloudSuper>(input), forge);
      break;
    case 2: {
      auto header = take<SegmentHeader>(input);
      seal_as(header, forge);
      SegmentHeader parsed;
      if (parse_segment_header(bytes_of(header), parsed)) {
        LATTE_CHECK(parsed.order + 1 > parsed.order && parsed.generation + 1 > 0);
      }
      break;
    }
    case 3: {
      // Structures of the real size and alignment, whatever the length of the input.
      Buffer bytes(round_up(input.size() + 1, kBlockBytes));
      std::memset(bytes.data(), 0, bytes.size());
      std::copy(input.begin(), input.end(), bytes.data());
      check_record(bytes.span(), forge);
      break;
    }
    default: {
      // The footer's own fields only: the input goes to the table.
      SegmentFooter footer{};
      const size_t length = std::min(input.size(), offsetof(SegmentFooter, reserved));
      std::memcpy(static_cast<void*>(&footer), input.data(), length);
      input = input.subspan(length);
      Buffer bytes(round_up(input.size() + 1, kBlockBytes));
      std::memset(bytes.data(), 0, bytes.size());
      std::copy(input.begin(), input.end(), bytes.data());
      check_table(footer, bytes.span(), forge);
      break;
    }
  }
  return 0;
}
