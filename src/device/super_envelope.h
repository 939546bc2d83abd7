// The envelope that a cloud volume's superblock is stored in, so that the volume can tell a whole
// one from rubbish, and its generation, without knowing the format inside:
//
//   0     magic "LTFSUPER"
//   8     generation, little-endian
//   16    4096 bytes, opaque
//   4112  CRC-32C of all before, little-endian
//
// Thread rule: none; pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "device/cloud_volume.h"

namespace latte {

/// Magic and generation: what a compare-and-swap has to compare.
inline constexpr size_t kEnvelopeHeadBytes = 16;
inline constexpr size_t kEnvelopeBytes = kEnvelopeHeadBytes + kBlockBytes + 4;
using Envelope = std::array<std::byte, kEnvelopeBytes>;

struct StoredSuper {
  uint64_t generation = 0;
  SuperBytes bytes{};
};

Envelope seal_envelope(const StoredSuper& super);
/// `name` is for messages: what was read. Errors: damaged (size, magic, CRC).
Result<StoredSuper> open_envelope(std::span<const std::byte> raw, const std::string& name);

}  // namespace latte
