// The bytes of a volume area: the part of a pool's device behind the log that plain disks are
// carved from. One page explains them with the reasons: docs/internals/volume-format.md.
//
// Layout, from the area's start: superblock copies 0 and 1, one block each; at kTableOffset the
// table (copy 0), behind it the table again (copy 1); the extents.
//
// All integers are little-endian; every structure is one block with magic, version and a CRC-32C of
// the whole with the crc field as zero. Values are never renumbered.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/units.h"
#include "base/uuid.h"

namespace latte::volume {

static_assert(std::endian::native == std::endian::little, "on-disk structures are used in place");

inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint64_t kSuperMagic = 0x314c4f56'5454414cull;  // "LATTVOL1"
inline constexpr uint64_t kTableMagic = 0x31424154'5454414cull;  // "LATTTAB1"

/// Volumes one area can hold.
inline constexpr size_t kMaxVolumes = 32;
inline constexpr size_t kNameBytes = 64;
/// Bounds of the unit in which space is given to volumes; a power of two.
inline constexpr uint32_t kMinExtentBytes = 64u << 10;
inline constexpr uint32_t kMaxExtentBytes = 64u << 20;
inline constexpr uint32_t kDefaultExtentBytes = 1u << 20;
/// Most extents of one volume: 16 TiB of the default size, and 64 MiB of memory for its map.
inline constexpr uint64_t kMaxVolumeExtents = 1ull << 24;
/// Most extents of one area; extent numbers and sums of them fit 32 bits.
inline constexpr uint64_t kMaxAreaExtents = 1ull << 30;
/// Start of the table. Room for the superblocks, aligned for any device.
inline constexpr uint64_t kTableOffset = 64u << 10;

/// Slot::flags: extents are given when they are first written to.
inline constexpr uint32_t kThin = 1;

/// One volume, as the superblock knows it.
struct Slot {
  Uuid id;                // nil = free slot
  char name[kNameBytes];  // zero-terminated
  uint64_t size_bytes;
  uint32_t serial;  // what the table calls it; never given twice, so entries of a volume that was
                    // removed belong to nobody
  uint32_t flags;   // kThin
  std::array<uint64_t, 2> reserved;
};
static_assert(sizeof(Slot) == 112);

/// The area's first two blocks hold a copy each: the valid one with the higher counter counts.
struct Super {
  uint64_t magic;
  uint32_t version;
  uint32_t crc;
  Uuid space_id;
  uint64_t counter;  // of superblock writes
  uint64_t extent_count;
  uint32_t extent_bytes;
  uint32_t next_serial;  // every serial in use is below it
  std::array<uint8_t, 512 - 56> reserved;
  std::array<Slot, kMaxVolumes> volumes;
};
static_assert(sizeof(Super) == kBlockBytes);
static_assert(offsetof(Super, volumes) == 512);

/// Who has an extent of the area. Serial 0: nobody; then `extent` is a FreeKind.
struct Entry {
  uint32_t serial;
  uint32_t extent;  // which of the volume's
  friend constexpr bool operator==(const Entry&, const Entry&) = default;
};
static_assert(sizeof(Entry) == 8);

/// What a free extent holds.
enum class FreeKind : uint32_t {
  unknown = 0,  ///< somebody's old bytes: it is zeroed before it is given away
  zeroes = 1,
};
constexpr Entry free_entry(FreeKind kind) { return Entry{0, static_cast<uint32_t>(kind)}; }

inline constexpr size_t kTableEntries = 504;

/// Block `index` of the table: entries index * kTableEntries and on.
struct TableBlock {
  uint64_t magic;
  uint32_t version;
  uint32_t crc;
  Uuid space_id;
  uint64_t index;
  uint64_t counter;  // of the block's changes: the valid copy with the higher one counts
  std::array<uint64_t, 2> reserved;
  std::array<Entry, kTableEntries> entries;
};
static_assert(sizeof(TableBlock) == kBlockBytes);

/// Where things are, in bytes from the area's start.
struct Geometry {
  uint64_t extent_count = 0;
  uint32_t extent_bytes = 0;

  uint64_t table_blocks() const { return round_up(extent_count, kTableEntries) / kTableEntries; }
  uint64_t table_offset(unsigned copy) const {
    return kTableOffset + copy * table_blocks() * kBlockBytes;
  }
  uint64_t first_extent_offset() const {
    return round_up(kTableOffset + 2 * table_blocks() * kBlockBytes, kTableOffset);
  }
  uint64_t extent_offset(uint64_t extent) const {
    return first_extent_offset() + extent * extent_bytes;
  }
  uint64_t area_bytes() const { return extent_offset(extent_count); }
  /// Extents that hold `size_bytes` of a volume.
  uint64_t extents_for(uint64_t size_bytes) const {
    return size_bytes / extent_bytes + (size_bytes % extent_bytes != 0 ? 1 : 0);
  }
};
/// The most extents that fit an area of `area_bytes`.
Geometry fit_geometry(uint64_t area_bytes, uint32_t extent_bytes);

/// Set magic, version and crc.
void seal(Super& super);
void seal(TableBlock& block);

/// Letters, digits, '_', '-' and '.', at least one, at most kNameBytes - 1.
bool valid_name(std::string_view name);

/// Checks of bytes from a device; they look at nothing beyond `block`. Errors: not_found (no
/// magic), unsupported (another version), damaged (CRC, or fields out of range). `where` names the
/// object.
Result<Super> parse_super(std::span<const std::byte> block, std::string_view where);
/// False = not a valid copy of block `index` of the table of `space_id`.
bool parse_table_block(std::span<const std::byte> block, const Uuid& space_id, uint64_t index,
                       TableBlock& out);

}  // namespace latte::volume
