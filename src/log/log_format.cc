#include "log/log_format.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"

namespace latte::log {
namespace {

template <typename Block>
void seal_block(Block& block, uint64_t magic, uint32_t version = kFormatVersion) {
  block.magic = magic;
  block.version = version;
  block.crc = struct_crc(block);
}

template <typename Block>
bool parse_block(std::span<const std::byte> bytes, uint64_t magic, Block& out) {
  static_assert(sizeof(Block) == kBlockBytes);
  if (bytes.size() < sizeof(Block)) return false;
  std::memcpy(&out, bytes.data(), sizeof(Block));
  return out.magic == magic && out.version == kFormatVersion && out.crc == struct_crc(out);
}

/// Magic, version and CRC of a superblock, told apart for the operator. `also` is one more version.
template <typename Block>
Result<void> check_super(std::span<const std::byte> bytes, uint64_t magic, Block& out,
                         std::string_view where, uint32_t also = kFormatVersion) {
  if (bytes.size() < sizeof(Block))
    return Error{Errc::damaged, fmt::format("{}: superblock is cut short", where)};
  std::memcpy(&out, bytes.data(), sizeof(Block));
  if (out.magic != magic)
    return Error{Errc::not_found, fmt::format("{}: no Latte superblock here", where)};
  if (out.crc != struct_crc(out))
    return Error{Errc::damaged, fmt::format("{}: superblock checksum mismatch", where)};
  if (out.version != kFormatVersion && out.version != also)
    return Error{Errc::unsupported,
                 fmt::format("{}: format version {} is not supported (this build reads {}); use a "
                             "matching build of latte",
                             where, out.version, kFormatVersion)};
  return {};
}

bool zero_terminated(const char (&name)[kNameBytes]) {
  return std::memchr(name, 0, kNameBytes) != nullptr;
}

/// Most of anything that counts up (seqs, orders, generations, blocks): keeps sums far from
/// overflow.
constexpr uint64_t kMost = 1ull << 60;

bool plausible(const LogPosition& position) {
  return position.order < kMost && position.block < kMost;
}

/// Entries of a record or table: kinds known, counts in range, data blocks adding up.
bool plausible(const Entry& entry) {
  switch (entry.kind) {
    case EntryKind::data:
    case EntryKind::copy:
      if (entry.count == 0 || entry.count > kMaxRecordDataBlocks) return false;
      break;
    case EntryKind::empty:
    case EntryKind::cut:
      if (entry.count == 0 || entry.seq == 0) return false;
      break;
    case EntryKind::zero:
    case EntryKind::invalidate:
    case EntryKind::lost:
      break;
    default:
      return false;
  }
  return entry.lba < kMost && entry.count < kMost && entry.seq < kMost;
}

}  // namespace

uint32_t bound_crc(uint32_t data_crc, Lba lba, Seq seq) {
  const uint64_t binding[2] = {lba.value, seq.value};
  return data_crc ^ crc32c(std::as_bytes(std::span(binding)));
}

void seal(SpaceSuper& super) { seal_block(super, kSpaceMagic); }
void seal(CloudSuper& super) { seal_block(super, kCloudMagic); }
void seal_rolling_back(CloudSuper& super) { seal_block(super, kCloudMagic, kRollingBackVersion); }
void seal(SegmentHeader& header) { seal_block(header, kSegmentMagic); }
void seal(SegmentFooter& footer) { seal_block(footer, kFooterMagic); }

void seal_record(std::span<std::byte> header_blocks) {
  LATTE_CHECK(header_blocks.size() >= sizeof(RecordHeader));
  const uint32_t zero = 0;
  std::memcpy(header_blocks.data() + offsetof(RecordHeader, crc), &zero, sizeof(zero));
  const uint32_t crc = crc32c(header_blocks);
  std::memcpy(header_blocks.data() + offsetof(RecordHeader, crc), &crc, sizeof(crc));
}

Result<SpaceSuper> parse_space_super(std::span<const std::byte> block, std::string_view where) {
  SpaceSuper super;
  auto checked = check_super(block, kSpaceMagic, super, where);
  if (!checked) return checked.error();
  const bool sane =
      (super.kind == SpaceKind::pool || super.kind == SpaceKind::cloud_log) &&
      super.segment_bytes >= kMinSegmentBytes && super.segment_bytes <= kMaxSegmentBytes &&
      std::has_single_bit(super.segment_bytes) && super.segment_count >= 2 &&
      super.segment_count < (1ull << 32) && super.first_segment_offset >= 2 * kBlockBytes &&
      super.first_segment_offset % kBlockBytes == 0 && super.first_segment_offset < (1ull << 40);
  const bool pool_sane = super.pool.epoch < kMost && plausible(super.pool.end);
  if (!sane || !pool_sane)
    return Error{Errc::damaged, fmt::format("{}: superblock fields out of range", where)};
  for (const StreamSlot& slot : super.streams) {
    if (!zero_terminated(slot.name))
      return Error{Errc::damaged, fmt::format("{}: disk name without end", where)};
    if (slot.epoch >= kMost || slot.tail_order >= kMost || slot.floor_seq >= kMost ||
        slot.void_seq >= kMost)
      return Error{Errc::damaged, fmt::format("{}: a disk's fields are out of range", where)};
    const auto same = [&](const StreamSlot& other) { return other.disk_id == slot.disk_id; };
    if (!slot.disk_id.is_nil() &&
        std::count_if(super.streams.begin(), super.streams.end(), same) > 1)
      return Error{Errc::damaged, fmt::format("{}: holds one disk twice", where)};
  }
  return super;
}

Result<CloudSuper> parse_cloud_super(std::span<const std::byte> block, std::string_view where) {
  auto super = parse_cloud_super_to_roll_back(block, where);
  if (super && super.value().version == kRollingBackVersion)
    return Error{
        Errc::unsupported,
        fmt::format("{}: a rollback to a snapshot did not come to its end, and there is no "
                    "disk until it has; run latte snapshot rollback again",
                    where)};
  return super;
}

Result<CloudSuper> parse_cloud_super_to_roll_back(std::span<const std::byte> block,
                                                  std::string_view where) {
  CloudSuper super;
  auto checked = check_super(block, kCloudMagic, super, where, kRollingBackVersion);
  if (!checked) return checked.error();
  if (super.size_bytes == 0 || super.size_bytes % kBlockBytes != 0 || super.disk_id.is_nil() ||
      extent_of(super) < super.size_bytes || extent_of(super) % kBlockBytes != 0 ||
      extent_of(super) > kMaxDiskBytes || super.generation >= kMost ||
      super.epoch > super.generation || !zero_terminated(super.name))
    return Error{Errc::damaged, fmt::format("{}: superblock fields out of range", where)};
  return super;
}

bool parse_segment_header(std::span<const std::byte> block, SegmentHeader& out) {
  return parse_block(block, kSegmentMagic, out) && out.generation < kMost && out.order < kMost &&
         plausible(out.previous_end) && plausible(out.durable) && plausible(out.completed) &&
         out.wall_time_ns >= 0;
}

bool parse_segment_footer(std::span<const std::byte> block, uint32_t segment_blocks,
                          SegmentFooter& out) {
  if (!parse_block(block, kFooterMagic, out)) return false;
  return out.table_blocks < segment_blocks && out.used_blocks < segment_blocks &&
         uint64_t{out.used_blocks} + out.table_blocks + 1 <= segment_blocks &&
         out.table_blocks == table_blocks(out.entry_count, out.data_blocks);
}

bool parse_record(std::span<const std::byte> bytes, uint64_t salt, uint32_t block,
                  uint32_t segment_blocks, RecordView& out, uint32_t& need_blocks) {
  need_blocks = 0;
  if (bytes.size() < kBlockBytes) return false;
  std::memcpy(&out.header, bytes.data(), sizeof(RecordHeader));
  const RecordHeader& header = out.header;
  if (header.magic != kRecordMagic || header.salt != salt || header.block != block) return false;
  if (header.entry_count > kMaxRecordEntries || header.data_blocks > kMaxRecordDataBlocks)
    return false;
  if (header.header_blocks != record_header_blocks(header.entry_count, header.data_blocks))
    return false;
  if (header.wall_time_ns < 0) return false;
  if (uint64_t{block} + header.header_blocks + header.data_blocks > segment_blocks) return false;
  need_blocks = header.header_blocks;
  const size_t header_bytes = size_t{header.header_blocks} * kBlockBytes;
  if (bytes.size() < header_bytes) return false;

  // The CRC with its own field as zero, without copying up to 64 KiB.
  constexpr size_t kCrcAt = offsetof(RecordHeader, crc);
  const uint32_t zero = 0;
  uint32_t crc = crc32c(bytes.first(kCrcAt));
  crc = crc32c(std::as_bytes(std::span(&zero, 1)), crc);
  crc = crc32c(bytes.subspan(kCrcAt + 4, header_bytes - kCrcAt - 4), crc);
  if (crc != header.crc) return false;

  const std::byte* at = bytes.data() + sizeof(RecordHeader);
  out.entries = {reinterpret_cast<const Entry*>(at), header.entry_count};
  at += header.entry_count * sizeof(Entry);
  out.crcs = {reinterpret_cast<const uint32_t*>(at), header.data_blocks};
  uint64_t data_blocks = 0;
  for (const Entry& entry : out.entries) {
    if (!plausible(entry)) return false;
    if (has_data(entry.kind)) data_blocks += entry.count;
  }
  return data_blocks == header.data_blocks;
}

bool parse_table(std::span<const std::byte> bytes, const SegmentFooter& footer,
                 uint32_t segment_blocks, TableView& out) {
  if (bytes.size() != size_t{footer.table_blocks} * kBlockBytes) return false;
  if (crc32c(bytes) != footer.table_crc) return false;
  out.entries = {reinterpret_cast<const TableEntry*>(bytes.data()), footer.entry_count};
  out.crcs = {
      reinterpret_cast<const uint32_t*>(bytes.data() + footer.entry_count * sizeof(TableEntry)),
      footer.data_blocks};
  uint64_t data_blocks = 0;
  for (const TableEntry& item : out.entries) {
    if (!plausible(item.entry) || item.record_block >= segment_blocks) return false;
    if (!has_data(item.entry.kind)) continue;
    data_blocks += item.entry.count;
    if (item.data_block + item.entry.count > segment_blocks) return false;
  }
  return data_blocks == footer.data_blocks;
}

}  // namespace latte::log
