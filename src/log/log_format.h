// The bytes of both logs, the local pool and the cloud log, and of the superblocks. One page
// explains them with the reasons: docs/internals/log-format.md.
//
// All integers are little-endian; every structure carries magic and CRC-32C. The CRC covers the
// whole structure (for a record: all header blocks) with the crc field as zero. Values are never
// renumbered.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/units.h"
#include "base/uuid.h"

namespace latte::log {

static_assert(std::endian::native == std::endian::little, "on-disk structures are used in place");

inline constexpr uint32_t kFormatVersion = 1;
/// A cloud superblock's while the disk is being rolled back to a snapshot: base and log are no
/// disk's then, and nothing but that rollback may go on with them.
inline constexpr uint32_t kRollingBackVersion = 2;

inline constexpr uint64_t kSpaceMagic = 0x31435053'5454414cull;    // "LATTSPC1"
inline constexpr uint64_t kCloudMagic = 0x31444c43'5454414cull;    // "LATTCLD1"
inline constexpr uint64_t kSegmentMagic = 0x31474553'5454414cull;  // "LATTSEG1"
inline constexpr uint64_t kFooterMagic = 0x31544f46'5454414cull;   // "LATTFOT1"
inline constexpr uint32_t kRecordMagic = 0x4345524cu;              // "LREC"

/// Which of the two logs a space holds.
enum class SpaceKind : uint32_t { pool = 1, cloud_log = 2 };

/// Two blocks behind the superblocks that a space leaves to who owns its device (a pool's write
/// buffer); a new space zeroes them.
inline constexpr uint64_t kNotesOffset = 8192;
inline constexpr uint64_t kNotesBytes = 8192;

/// Disks one space can hold. 32 slots of 112 bytes fit the superblock.
inline constexpr size_t kMaxStreams = 32;
inline constexpr size_t kNameBytes = 64;

/// One disk's stream of segments, as the space's superblock knows it.
struct StreamSlot {
  Uuid disk_id;           // nil = free slot
  char name[kNameBytes];  // zero-terminated
  uint64_t epoch;         // generation at which this space's content of the disk begins
  uint64_t tail_order;    // segments with a lower order are free, whatever they hold
  uint64_t floor_seq;     // cloud log: every seq up to here is in the base
  uint64_t void_seq;      // cloud log: the pool's copies with a seq up to here may be stale
};
static_assert(sizeof(StreamSlot) == 112);

/// A place in a disk's stream: segment order and block within the segment.
struct LogPosition {
  uint64_t order = 0;
  uint64_t block = 0;
  friend constexpr auto operator<=>(const LogPosition&, const LogPosition&) = default;
};

/// A cloud log's: what is known there of the pool, whose own marks may be lost with what they are
/// of.
struct PoolMark {
  uint64_t epoch = 0;  // the disk's when this was written; in another one it says nothing
  LogPosition end;     // the pool's log of the disk was flushed up to here
};
static_assert(sizeof(PoolMark) == 24);

/// First two blocks of a space, written in turn: the valid one with the higher counter counts.
struct SpaceSuper {
  uint64_t magic;
  uint32_t version;
  uint32_t crc;
  SpaceKind kind;
  uint32_t segment_bytes;
  uint64_t segment_count;
  uint64_t first_segment_offset;  // bytes
  uint64_t counter;               // of superblock writes
  Uuid space_id;                  // pool id, or the disk's id for its cloud log
  PoolMark pool;
  std::array<uint8_t, 424> reserved;
  std::array<StreamSlot, kMaxStreams> streams;
};
static_assert(sizeof(SpaceSuper) == kBlockBytes);
static_assert(offsetof(SpaceSuper, streams) == 512);

/// The disk's identity and ownership, kept by CloudVolume::swap_super.
struct CloudSuper {
  uint64_t magic;
  uint32_t version;
  uint32_t crc;
  Uuid disk_id;
  Uuid owner_pool_id;  // nil = nobody attached it yet
  uint64_t size_bytes;
  uint64_t generation;  // raised at every attach; fencing
  uint64_t epoch;       // generation of the last change of owner
  char name[kNameBytes];
  uint64_t extent_bytes;  // how large the disk has ever been; 0 = never resized: size_bytes
  std::array<uint8_t, 4096 - 16 - 32 - 24 - 64 - 8> reserved;
};
static_assert(sizeof(CloudSuper) == kBlockBytes);

/// Largest disk: bounds what a superblock makes a host allocate.
inline constexpr uint64_t kMaxDiskBytes = 1ull << 50;

/// Logs and base may hold blocks of the disk up to here.
constexpr uint64_t extent_of(const CloudSuper& super) {
  return super.extent_bytes == 0 ? super.size_bytes : super.extent_bytes;
}

/// Block 0 of a segment in use.
struct SegmentHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t crc;
  Uuid space_id;
  Uuid disk_id;
  uint64_t generation;
  uint64_t order;            // position of the segment in the disk's stream
  uint64_t salt;             // random; every record and the footer repeat it
  LogPosition previous_end;  // where the stream ended before this segment
  LogPosition durable;       // the stream up to here was flushed when this was written
  LogPosition completed;     // up to here it was written
  uint64_t boot_id;          // of the machine's power session
  int64_t wall_time_ns;      // when the segment was opened
  std::array<uint8_t, 4096 - 16 - 32 - 24 - 48 - 16> reserved;
};
static_assert(sizeof(SegmentHeader) == kBlockBytes);

/// What an entry says about its blocks.
enum class EntryKind : uint8_t {
  data = 1,  ///< `count` blocks of data follow in the record
  zero = 2,  ///< the range reads as zeroes
  invalidate =
      3,      ///< pool: the range's newest version is in the cloud; older pool copies are stale
  lost = 4,   ///< cloud log: the range's only copy was lost; reads fail until it is written again
  empty = 5,  ///< cloud log: seqs [seq, seq + count) hold nothing (never reached either log)
  cut = 6,    ///< cloud log: earlier entries with seqs [seq, seq + count) never happened
  copy = 7,   ///< pool: clean copy of `count` blocks of the cloud's content, current as of `seq`
};

/// One write, discard, copy or note. Data blocks follow the record's header in the entries' order.
struct Entry {
  uint64_t seq;
  uint64_t lba;
  uint64_t count;  // blocks, or seqs for empty and cut
  EntryKind kind;
  uint8_t flags;  // kMorePieces
  std::array<uint8_t, 6> reserved;
};
static_assert(sizeof(Entry) == 32);

constexpr Entry make_entry(EntryKind kind, Lba lba, uint64_t count, Seq seq) {
  return {seq.value, lba.value, count, kind, 0, {}};
}

/// Entry::flags: the write goes on in a later entry of the same seq; until that one is there, the
/// seq does not count as complete.
inline constexpr uint8_t kMorePieces = 1;

constexpr bool has_data(EntryKind kind) {
  return kind == EntryKind::data || kind == EntryKind::copy;
}

/// Highest seq an entry stands for. A cut stands for none: it only takes away.
constexpr uint64_t last_seq_of(const Entry& entry) {
  if (entry.kind == EntryKind::cut || entry.count == 0) return 0;
  return entry.kind == EntryKind::empty ? entry.seq + entry.count - 1 : entry.seq;
}

/// Starts a record; entries follow at once, then one CRC per data block, padded to whole blocks.
struct RecordHeader {
  uint32_t magic;
  uint32_t crc;
  uint64_t salt;
  uint32_t index;  // number of the record within its segment
  uint32_t block;  // where the record starts, in blocks from the segment's start
  uint32_t header_blocks;
  uint32_t data_blocks;
  uint32_t entry_count;
  uint32_t reserved0;
  int64_t wall_time_ns;
  LogPosition durable;    // the stream up to here was flushed when this was written
  LogPosition completed;  // up to here it was written: lost only with the power
  uint64_t boot_id;       // of the machine's power session; see Reactor::boot_id()
};
static_assert(sizeof(RecordHeader) == 88);

/// Limits of one record; the writer keeps them, the reader refuses what exceeds them.
inline constexpr uint32_t kMaxHeaderBlocks = 16;
inline constexpr uint32_t kMaxRecordDataBlocks = 1024;
inline constexpr uint32_t kMaxRecordEntries = 1024;

constexpr uint64_t record_header_bytes(uint64_t entries, uint64_t data_blocks) {
  return sizeof(RecordHeader) + entries * sizeof(Entry) + data_blocks * sizeof(uint32_t);
}
constexpr uint32_t record_header_blocks(uint64_t entries, uint64_t data_blocks) {
  return static_cast<uint32_t>(round_up(record_header_bytes(entries, data_blocks), kBlockBytes) /
                               kBlockBytes);
}
static_assert(record_header_blocks(kMaxRecordEntries, kMaxRecordDataBlocks) <= kMaxHeaderBlocks);

/// An entry in a sealed segment's table.
struct TableEntry {
  Entry entry;
  uint32_t record_block;  // where its record starts
  uint32_t data_block;    // where its data starts; meaningless without data
};
static_assert(sizeof(TableEntry) == 40);

/// Last block of a sealed segment; the table ends right before it: entries, then CRCs of the data.
struct SegmentFooter {
  uint64_t magic;
  uint32_t version;
  uint32_t crc;
  uint64_t salt;
  uint64_t order;
  uint32_t used_blocks;  // end of the last record
  uint32_t table_blocks;
  uint32_t entry_count;
  uint32_t data_blocks;
  uint32_t table_crc;  // of table_blocks * kBlockBytes
  uint32_t record_count;
  LogPosition durable;
  std::array<uint8_t, 4096 - 16 - 16 - 24 - 16> reserved;
};
static_assert(sizeof(SegmentFooter) == kBlockBytes);

constexpr uint64_t table_bytes(uint64_t entries, uint64_t data_blocks) {
  return entries * sizeof(TableEntry) + data_blocks * sizeof(uint32_t);
}
constexpr uint64_t table_blocks(uint64_t entries, uint64_t data_blocks) {
  return round_up(table_bytes(entries, data_blocks), kBlockBytes) / kBlockBytes;
}

/// Bounds of a segment's size: small enough to be a unit of reclaim, large enough to be a large
/// append.
inline constexpr uint32_t kMinSegmentBytes = 64u << 10;
inline constexpr uint32_t kMaxSegmentBytes = 64u << 20;

/// The CRC stored for a data block: bound to where it belongs and to the write it comes from, so
/// that a block which landed elsewhere or stayed from an earlier write never passes.
uint32_t bound_crc(uint32_t data_crc, Lba lba, Seq seq);
/// Gets the plain CRC of the data back (bound_crc is its own inverse).
inline uint32_t unbound_crc(uint32_t stored, Lba lba, Seq seq) {
  return bound_crc(stored, lba, seq);
}

/// Sets magic, version and crc of a whole-block structure.
void seal(SpaceSuper& super);
void seal(CloudSuper& super);
/// seal() with kRollingBackVersion.
void seal_rolling_back(CloudSuper& super);
void seal(SegmentHeader& header);
void seal(SegmentFooter& footer);
/// Sets the crc of a record's header blocks (already filled in).
void seal_record(std::span<std::byte> header_blocks);

/// Checks of bytes from a device; they look at nothing beyond `block`. Errors: not_found (no
/// magic), unsupported (another version), damaged (CRC, or fields out of range). `where` names the
/// object.
Result<SpaceSuper> parse_space_super(std::span<const std::byte> block, std::string_view where);
Result<CloudSuper> parse_cloud_super(std::span<const std::byte> block, std::string_view where);
/// For rolling back only: accepts kRollingBackVersion, too.
Result<CloudSuper> parse_cloud_super_to_roll_back(std::span<const std::byte> block,
                                                  std::string_view where);

/// Likewise for segments, where a mismatch is an everyday thing: false = not a valid one.
bool parse_segment_header(std::span<const std::byte> block, SegmentHeader& out);
bool parse_segment_footer(std::span<const std::byte> block, uint32_t segment_blocks,
                          SegmentFooter& out);

/// A record's header seen in place. The spans point into the parsed bytes.
struct RecordView {
  RecordHeader header;
  std::span<const Entry> entries;
  std::span<const uint32_t> crcs;  ///< stored (bound) CRC per data block, entries' order
  uint32_t total_blocks() const { return header.header_blocks + header.data_blocks; }
};
/// Parses the record that starts at `bytes` (aligned to 8), at block `block` of a segment of
/// `segment_blocks` with `salt`. False = no valid record here. Sets `need_blocks` to the header's
/// length if `bytes` is shorter than that (then false with need_blocks > bytes' blocks: read more).
bool parse_record(std::span<const std::byte> bytes, uint64_t salt, uint32_t block,
                  uint32_t segment_blocks, RecordView& out, uint32_t& need_blocks);

/// A sealed segment's table seen in place.
struct TableView {
  std::span<const TableEntry> entries;
  std::span<const uint32_t> crcs;
};
/// Parses the table bytes that `footer` describes. False = damaged.
bool parse_table(std::span<const std::byte> bytes, const SegmentFooter& footer,
                 uint32_t segment_blocks, TableView& out);

}  // namespace latte::log
