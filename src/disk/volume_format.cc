#include "disk/volume_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "base/plain_name.h"

namespace latte::volume {
namespace {

template <typename Block>
void seal_block(Block& block, uint64_t magic) {
  block.magic = magic;
  block.version = kFormatVersion;
  block.crc = struct_crc(block);
}

/// Most of anything that counts up: keeps sums far from overflow.
constexpr uint64_t kMost = 1ull << 60;

bool plausible(const Slot& slot, const Super& super) {
  const size_t length = ::strnlen(slot.name, kNameBytes);
  return length < kNameBytes && valid_name({slot.name, length}) && slot.size_bytes > 0 &&
         slot.size_bytes % kBlockBytes == 0 &&
         slot.size_bytes <= kMaxVolumeExtents * super.extent_bytes && slot.serial > 0 &&
         slot.serial < super.next_serial && (slot.flags & ~kThin) == 0;
}

bool one_of_each(const Super& super) {
  for (const Slot& slot : super.volumes) {
    if (slot.id.is_nil()) continue;
    const auto same = [&](const Slot& other) {
      return !other.id.is_nil() && (other.id == slot.id || other.serial == slot.serial ||
                                    std::strncmp(other.name, slot.name, kNameBytes) == 0);
    };
    if (std::count_if(super.volumes.begin(), super.volumes.end(), same) != 1) return false;
  }
  return true;
}

}  // namespace

Geometry fit_geometry(uint64_t area_bytes, uint32_t extent_bytes) {
  Geometry geometry;
  geometry.extent_bytes = extent_bytes;
  // An upper bound, which the table then eats into.
  geometry.extent_count = std::min(area_bytes / extent_bytes, kMaxAreaExtents);
  while (geometry.extent_count > 0 && geometry.area_bytes() > area_bytes) {
    const uint64_t over = geometry.area_bytes() - area_bytes;
    const uint64_t extents = std::max<uint64_t>(1, over / extent_bytes / 2);
    geometry.extent_count -= std::min(extents, geometry.extent_count);
  }
  return geometry;
}

void seal(Super& super) { seal_block(super, kSuperMagic); }
void seal(TableBlock& block) { seal_block(block, kTableMagic); }

bool valid_name(std::string_view name) { return plain_name(name) && name.size() < kNameBytes; }

Result<Super> parse_super(std::span<const std::byte> block, std::string_view where) {
  if (block.size() < sizeof(Super))
    return Error{Errc::damaged, fmt::format("{}: volume superblock is cut short", where)};
  Super super;
  std::memcpy(&super, block.data(), sizeof(super));
  if (super.magic != kSuperMagic)
    return Error{Errc::not_found, fmt::format("{}: no volume superblock here", where)};
  if (super.crc != struct_crc(super))
    return Error{Errc::damaged, fmt::format("{}: volume superblock checksum mismatch", where)};
  if (super.version != kFormatVersion)
    return Error{Errc::unsupported,
                 fmt::format("{}: volume format version {} is not supported (this build reads {}); "
                             "use a matching build of latte",
                             where, super.version, kFormatVersion)};
  bool sane = super.extent_bytes >= kMinExtentBytes && super.extent_bytes <= kMaxExtentBytes &&
              std::has_single_bit(super.extent_bytes) && super.extent_count > 0 &&
              super.extent_count <= kMaxAreaExtents && super.counter < kMost &&
              super.next_serial > 0 && !super.space_id.is_nil();
  for (const Slot& slot : super.volumes)
    if (sane && !slot.id.is_nil()) sane = plausible(slot, super);
  if (!sane || !one_of_each(super))
    return Error{Errc::damaged,
                 fmt::format("{}: volume superblock has fields out of range", where)};
  return super;
}

bool parse_table_block(std::span<const std::byte> block, const Uuid& space_id, uint64_t index,
                       TableBlock& out) {
  if (block.size() < sizeof(TableBlock)) return false;
  std::memcpy(&out, block.data(), sizeof(out));
  return out.magic == kTableMagic && out.version == kFormatVersion && out.space_id == space_id &&
         out.index == index && out.counter < kMost && out.crc == struct_crc(out);
}

}  // namespace latte::volume
