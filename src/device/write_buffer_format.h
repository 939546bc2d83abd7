// The bytes of a write buffer: its mark on the device, and its memory.
//
// The mark says whether a buffer may hold what the device lacks, and which one. It lies in two
// copies in the part of a pool's head that the log leaves alone; both are durable before the buffer
// takes its first write. The memory survives the process and nothing else, so it needs no checksum
// over data: stores of a killed process are all there, in order. A slot counts from the instant its
// seq is not 0. docs/internals/log-format.md has the reasons.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/units.h"
#include "base/uuid.h"

namespace latte {

static_assert(std::endian::native == std::endian::little, "structures are used in place");

inline constexpr uint32_t kWriteBufferVersion = 1;
inline constexpr uint64_t kBufferMarkMagic = 0x314b4d57'5454414cull;    // "LATTWMK1"
inline constexpr uint64_t kBufferMemoryMagic = 0x31465542'5454414cull;  // "LATTBUF1"

/// Where the mark's two copies lie on the device, in bytes, a block each.
inline constexpr uint64_t kBufferMarkOffset = 8192;
inline constexpr uint64_t kBufferMarkCopies = 2;

enum class BufferState : uint32_t {
  clean = 1,   ///< the device has everything
  in_use = 2,  ///< the buffer named may hold what the device lacks
};

/// On the device. Fits one sector, so that it is never torn.
struct BufferMark {
  uint64_t magic;
  uint32_t version;
  uint32_t crc;  // CRC-32C of the whole, this field as zero
  Uuid buffer_id;
  uint64_t boot_id;  // of the machine's power session in which the buffer was made
  uint64_t counter;  // the valid copy with the higher one counts
  BufferState state;
  std::array<uint8_t, 512 - 52> reserved;
};
static_assert(sizeof(BufferMark) == kSectorBytes);
static_assert(offsetof(BufferMark, state) == 48);

/// First block of the memory.
struct BufferMemoryHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t crc;  // likewise
  Uuid buffer_id;
  uint32_t slot_count;   // slots follow in the next block, then the data at a multiple of a block
  uint32_t data_blocks;  // of kBlockBytes
  std::array<uint8_t, 4096 - 40> reserved;
};
static_assert(sizeof(BufferMemoryHeader) == kBlockBytes);

/// One write that the device may lack.
struct BufferSlot {
  uint64_t seq;     // order of the writes, from 1; 0: free. Stored last, cleared when written
  uint64_t offset;  // on the device, bytes
  uint32_t length;  // bytes, a multiple of kSectorBytes
  uint32_t data_block;
  uint32_t crc;  // of this slot, the field as zero
  std::array<uint8_t, 36> reserved;
};
static_assert(sizeof(BufferSlot) == 64);

}  // namespace latte
