// The virtio block device: features, configuration space, and the requests in a queue's buffers.
// Pure: reads guest memory, does no I/O. (Virtio 1.x, "Block Device".)
//
// Invariants:
//  1. A BlkCommand's data lies in the guest's memory; its values were read once and checked against
//     the device. What is wrong with a request is its `refusal`, an answer to the driver; only a
//     buffer without a header or a status byte can't be answered.
// Thread rule: none. Limits: the constants below.
#pragma once

#include <linux/virtio_blk.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "frontend/virtqueue.h"
#include "runtime/block_device.h"

namespace latte::vhost {

/// Queues of one device.
inline constexpr uint32_t kMaxQueues = 16;
/// Data segments of a request and their length: together they stay below DeviceInfo's
/// max_request_bytes as every device here has it.
inline constexpr uint32_t kSegMax = 126;
inline constexpr uint32_t kSizeMax = 256u << 10;
static_assert(kSegMax + 2 <= kMaxChainDescriptors);
static_assert(uint64_t{kSegMax} * kSizeMax <= 32u << 20, "DeviceInfo's default; more is refused");
/// Ranges of one DISCARD or WRITE_ZEROES, and their length in sectors: 2 GiB where it is cheap,
/// 16 MiB where zeroes have to be written.
inline constexpr uint32_t kMaxRanges = 16;
inline constexpr uint32_t kCheapRangeSectors = 1u << 22;
inline constexpr uint32_t kWrittenRangeSectors = 1u << 15;

/// What the device offers, transport features apart.
uint64_t blk_features(const DeviceInfo& info, uint32_t queues);
virtio_blk_config blk_config(const DeviceInfo& info, uint32_t queues);
/// The smallest unit of a request in bytes.
uint32_t blk_size(const DeviceInfo& info);

struct BlkCommand {
  enum class Kind : uint8_t { read, write, flush, get_id, discard, write_zeroes, refused };
  struct Range {
    uint64_t offset = 0;  ///< bytes
    uint64_t length = 0;
    bool discard = false;  ///< may give its space back
  };

  Kind kind = Kind::refused;
  uint8_t refusal = VIRTIO_BLK_S_UNSUPP;
  std::byte* status = nullptr;  ///< where the answer goes
  uint64_t offset = 0;          ///< read, write: bytes
  uint64_t length = 0;
  std::span<const iovec> data;  ///< read, write, get_id: inside the chain's pieces
  std::array<Range, kMaxRanges> ranges;
  uint32_t range_count = 0;
};

/// Reads the request in `chain`, whose pieces it trims to the data. False: it has no header or no
/// place for a status.
bool read_blk_command(const DeviceInfo& info, Chain& chain, BlkCommand& command);

/// Writes the device's identity into a GET_ID's data; returns the bytes written.
uint32_t write_blk_id(const std::string& name, std::span<const iovec> data);

/// The status byte for the driver.
uint8_t blk_status(IoStatus status);

}  // namespace latte::vhost
