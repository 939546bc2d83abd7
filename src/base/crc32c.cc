#include "base/crc32c.h"

#include <isa-l/crc.h>

namespace latte {

uint32_t crc32c(std::span<const std::byte> data, uint32_t seed) {
  // ISA-L's prototype lacks const; it only reads.
  auto* bytes = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(data.data()));
  return ~crc32_iscsi(bytes, static_cast<int>(data.size()), ~seed);
}

}  // namespace latte
