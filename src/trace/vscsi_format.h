// The binary records of VMware's vscsiStats tracing, versions 1 and 2: little-endian, without any
// header. The version is in the upper byte of a field of each record.
#pragma once

#include <cstddef>
#include <cstdint>

namespace latte::trace {

struct VscsiRecord1 {
  uint32_t serial;
  uint32_t length_bytes;
  uint32_t segments;
  uint16_t command;  ///< SCSI operation code
  uint16_t version;  ///< 1 << 8 and more
  uint64_t lba;      ///< in units of 512 bytes
  uint64_t time_us;
};
static_assert(sizeof(VscsiRecord1) == 32 && offsetof(VscsiRecord1, command) == 12 &&
              offsetof(VscsiRecord1, lba) == 16);

struct VscsiRecord2 {
  uint16_t command;
  uint16_t version;  ///< 2 << 8 and more
  uint32_t serial;
  uint32_t length_bytes;
  uint32_t segments;
  uint64_t lba;
  uint64_t time_us;
  uint64_t response_us;
};
static_assert(sizeof(VscsiRecord2) == 40 && offsetof(VscsiRecord2, length_bytes) == 8 &&
              offsetof(VscsiRecord2, lba) == 16);

}  // namespace latte::trace
