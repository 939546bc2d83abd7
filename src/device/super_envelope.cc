#include "device/super_envelope.h"

#include <fmt/core.h>

#include <cstring>

#include "base/crc32c.h"

namespace latte {
namespace {

constexpr std::array<char, 8> kMagic{'L', 'T', 'F', 'S', 'U', 'P', 'E', 'R'};
constexpr size_t kGenerationAt = 8;
constexpr size_t kCrcAt = kEnvelopeHeadBytes + kBlockBytes;
static_assert(kEnvelopeBytes == kCrcAt + 4);

void put_little_endian(std::byte* to, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) to[i] = static_cast<std::byte>(value >> (8 * i));
}

uint64_t get_little_endian(const std::byte* from, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value |= static_cast<uint64_t>(from[i]) << (8 * i);
  return value;
}

uint32_t crc_of(std::span<const std::byte> envelope) { return crc32c(envelope.first(kCrcAt)); }

Error damaged(const std::string& name, const std::string& what) {
  return Error{Errc::damaged,
               fmt::format("superblock {} is damaged: {}; restore it from a copy", name, what)};
}

}  // namespace

Envelope seal_envelope(const StoredSuper& super) {
  Envelope envelope{};
  std::memcpy(envelope.data(), kMagic.data(), kMagic.size());
  put_little_endian(envelope.data() + kGenerationAt, super.generation, 8);
  std::memcpy(envelope.data() + kEnvelopeHeadBytes, super.bytes.data(), super.bytes.size());
  put_little_endian(envelope.data() + kCrcAt, crc_of(envelope), 4);
  return envelope;
}

Result<StoredSuper> open_envelope(std::span<const std::byte> raw, const std::string& name) {
  if (raw.size() != kEnvelopeBytes)
    return damaged(name, fmt::format("it has {}{} bytes instead of {}",
                                     raw.size() > kEnvelopeBytes ? "at least " : "", raw.size(),
                                     kEnvelopeBytes));
  if (std::memcmp(raw.data(), kMagic.data(), kMagic.size()) != 0)
    return damaged(name, "it does not begin with Latte's mark");
  const auto stored = static_cast<uint32_t>(get_little_endian(raw.data() + kCrcAt, 4));
  const uint32_t computed = crc_of(raw);
  if (stored != computed)
    return damaged(name, fmt::format("checksum {:08x}, stored {:08x}", computed, stored));
  StoredSuper super;
  super.generation = get_little_endian(raw.data() + kGenerationAt, 8);
  std::memcpy(super.bytes.data(), raw.data() + kEnvelopeHeadBytes, super.bytes.size());
  return super;
}

}  // namespace latte
