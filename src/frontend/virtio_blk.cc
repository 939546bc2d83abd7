#include "frontend/virtio_blk.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/units.h"

namespace latte::vhost {
namespace {

struct RequestHeader {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};
static_assert(sizeof(RequestHeader) == 16);

struct RangeFields {
  uint64_t sector;
  uint32_t sectors;
  uint32_t flags;
};
static_assert(sizeof(RangeFields) == sizeof(virtio_blk_discard_write_zeroes));

/// Takes `size` bytes off the front of the pieces from `first` on; false: there are not as many.
bool take_front(std::span<iovec> pieces, size_t& first, void* out, size_t size) {
  auto* to = static_cast<std::byte*>(out);
  while (size > 0) {
    if (first == pieces.size()) return false;
    iovec& piece = pieces[first];
    const size_t bytes = std::min(size, piece.iov_len);
    std::memcpy(to, piece.iov_base, bytes);
    to += bytes;
    size -= bytes;
    piece.iov_base = static_cast<std::byte*>(piece.iov_base) + bytes;
    piece.iov_len -= bytes;
    if (piece.iov_len == 0) ++first;
  }
  return true;
}

uint64_t total(std::span<const iovec> pieces) {
  uint64_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  return bytes;
}

void refuse(BlkCommand& command, uint8_t status) {
  command.kind = BlkCommand::Kind::refused;
  command.refusal = status;
}

uint32_t max_range_sectors(const DeviceInfo& info) {
  return info.can_discard ? kCheapRangeSectors : kWrittenRangeSectors;
}

void read_transfer(const DeviceInfo& info, BlkCommand::Kind kind, uint64_t sector,
                   std::span<const iovec> data, BlkCommand& command) {
  command.kind = kind;
  command.data = data;
  command.length = total(data);
  const uint32_t unit = blk_size(info);
  const uint64_t sectors = info.size_bytes / kSectorBytes;
  if (sector > sectors || command.length == 0 || command.length % unit != 0 ||
      command.length > info.max_request_bytes)
    return refuse(command, VIRTIO_BLK_S_IOERR);
  command.offset = sector * kSectorBytes;
  if (command.offset % unit != 0 || !range_within(command.offset, command.length, info.size_bytes))
    refuse(command, VIRTIO_BLK_S_IOERR);
}

void read_ranges(const DeviceInfo& info, bool zeroes, std::span<iovec> pieces, size_t first,
                 BlkCommand& command) {
  command.kind = zeroes ? BlkCommand::Kind::write_zeroes : BlkCommand::Kind::discard;
  const uint64_t bytes = total(pieces.subspan(first));
  const uint64_t count = bytes / sizeof(RangeFields);
  if (bytes % sizeof(RangeFields) != 0 || count == 0 || count > kMaxRanges)
    return refuse(command, VIRTIO_BLK_S_IOERR);
  const uint32_t unit = blk_size(info);
  for (uint64_t i = 0; i < count; ++i) {
    RangeFields fields;
    LATTE_CHECK(take_front(pieces, first, &fields, sizeof(fields)));
    const uint32_t known = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    if ((fields.flags & ~known) != 0) return refuse(command, VIRTIO_BLK_S_UNSUPP);
    const uint64_t length = uint64_t{fields.sectors} * kSectorBytes;
    if (fields.sectors > max_range_sectors(info) ||
        fields.sector > info.size_bytes / kSectorBytes ||
        !range_within(fields.sector * kSectorBytes, length, info.size_bytes) ||
        (fields.sector * kSectorBytes) % unit != 0 || length % unit != 0)
      return refuse(command, VIRTIO_BLK_S_IOERR);
    if (length == 0) continue;
    command.ranges[command.range_count++] = {fields.sector * kSectorBytes, length,
                                             !zeroes || fields.flags != 0};
  }
}

}  // namespace

uint32_t blk_size(const DeviceInfo& info) { return std::max(kSectorBytes, info.alignment_bytes); }

uint64_t blk_features(const DeviceInfo& info, uint32_t queues) {
  uint64_t features = 1ull << VIRTIO_BLK_F_SIZE_MAX | 1ull << VIRTIO_BLK_F_SEG_MAX |
                      1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_TOPOLOGY |
                      1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
  if (info.can_discard) features |= 1ull << VIRTIO_BLK_F_DISCARD;
  if (queues > 1) features |= 1ull << VIRTIO_BLK_F_MQ;
  return features;
}

virtio_blk_config blk_config(const DeviceInfo& info, uint32_t queues) {
  virtio_blk_config config{};
  const uint32_t unit = blk_size(info);
  const uint32_t block = std::max(unit, kBlockBytes);
  config.capacity = info.size_bytes / kSectorBytes;
  config.size_max = kSizeMax;
  config.seg_max = kSegMax;
  config.blk_size = unit;
  config.physical_block_exp = static_cast<uint8_t>(std::countr_zero(block / unit));
  config.min_io_size = static_cast<uint16_t>(block / unit);
  config.opt_io_size = block / unit;
  config.wce = 1;
  config.num_queues = static_cast<uint16_t>(queues);
  config.max_discard_sectors = max_range_sectors(info);
  config.max_discard_seg = kMaxRanges;
  config.discard_sector_alignment = block / kSectorBytes;
  config.max_write_zeroes_sectors = max_range_sectors(info);
  config.max_write_zeroes_seg = kMaxRanges;
  config.write_zeroes_may_unmap = info.can_discard ? 1 : 0;
  return config;
}

bool read_blk_command(const DeviceInfo& info, Chain& chain, BlkCommand& command) {
  command.kind = BlkCommand::Kind::refused;
  command.refusal = VIRTIO_BLK_S_UNSUPP;
  command.status = nullptr;
  command.range_count = 0;
  command.offset = command.length = 0;
  command.data = {};
  const std::span<iovec> readable(chain.pieces.data(), chain.readable);
  std::span<iovec> writable = std::span<iovec>(chain.pieces).subspan(chain.readable);
  if (writable.empty()) return false;
  // The status is the last byte, wherever the driver cuts its buffers.
  iovec& last = writable.back();
  command.status = static_cast<std::byte*>(last.iov_base) + (last.iov_len - 1);
  if (--last.iov_len == 0) writable = writable.first(writable.size() - 1);
  RequestHeader header;
  size_t first = 0;
  if (!take_front(readable, first, &header, sizeof(header))) return false;
  switch (header.type) {
    case VIRTIO_BLK_T_IN:
      read_transfer(info, BlkCommand::Kind::read, header.sector, writable, command);
      break;
    case VIRTIO_BLK_T_OUT:
      read_transfer(info, BlkCommand::Kind::write, header.sector, readable.subspan(first), command);
      break;
    case VIRTIO_BLK_T_FLUSH:
      command.kind = BlkCommand::Kind::flush;
      break;
    case VIRTIO_BLK_T_GET_ID:
      command.kind = BlkCommand::Kind::get_id;
      command.data = writable;
      break;
    case VIRTIO_BLK_T_DISCARD:
      if (info.can_discard) read_ranges(info, false, readable, first, command);
      break;
    case VIRTIO_BLK_T_WRITE_ZEROES:
      read_ranges(info, true, readable, first, command);
      break;
    default:
      break;
  }
  return true;
}

uint32_t write_blk_id(const std::string& name, std::span<const iovec> data) {
  char id[VIRTIO_BLK_ID_BYTES] = {};
  std::memcpy(id, name.data(), std::min(name.size(), sizeof(id)));
  size_t done = 0;
  for (const iovec& piece : data) {
    const size_t bytes = std::min(piece.iov_len, sizeof(id) - done);
    std::memcpy(piece.iov_base, id + done, bytes);
    done += bytes;
  }
  return static_cast<uint32_t>(done);
}

uint8_t blk_status(IoStatus status) {
  return status == IoStatus::ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

}  // namespace latte::vhost
