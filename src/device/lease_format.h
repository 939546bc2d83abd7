// The head of a leased volume's log: superblock and lease, on storage that can only read and write
// (NBD). docs/internals/leases.md has the reasons.
//
//   offset    what
//   0         superblock, slot 0: SuperHeader, then the 4096 opaque bytes of the superblock
//   16 KiB    superblock, slot 1
//   32 KiB    lease, slots 0 and 1: a LeaseBlock each
//   64 KiB    the log begins (kLeasedHeadBytes)
//
// Slots are written in turn; the valid one with the higher counter counts, so a torn write leaves
// the one before. All integers little-endian; a CRC-32C covers its whole structure with the crc as
// zero (for a superblock the opaque bytes, too). Values are never renumbered.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "base/units.h"
#include "base/uuid.h"
#include "device/cloud_volume.h"

namespace latte {

static_assert(std::endian::native == std::endian::little, "on-disk structures are used in place");

inline constexpr uint32_t kLeaseFormatVersion = 1;
inline constexpr uint64_t kSuperSlotBytes = 16u << 10;
inline constexpr uint64_t kLeaseOffset = 32u << 10;
inline constexpr uint64_t kLeaseBytes = 2 * kBlockBytes;
inline constexpr uint64_t kLeasedHeadBytes = 64u << 10;
static_assert(2 * kSuperSlotBytes <= kLeaseOffset &&
              kLeaseOffset + kLeaseBytes <= kLeasedHeadBytes);

/// Shortest and longest lease: below, every hiccup of a cloud stops the disk's background work;
/// above, a take-over waits longer than anybody wants to.
inline constexpr TimeNs kMinLeaseNs = 500 * kMillisecond;
inline constexpr TimeNs kMaxLeaseNs = 120 * kSecond;

struct SuperHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t crc;
  uint64_t generation;
  uint64_t counter;  // of superblock writes
  std::array<uint8_t, 4096 - 32> reserved;
};
static_assert(sizeof(SuperHeader) == kBlockBytes && offsetof(SuperHeader, counter) == 24);

enum class LeaseState : uint32_t {
  held = 1,
  released = 2,  ///< by a clean stop: nobody writes
};

struct LeaseBlock {
  uint64_t magic;
  uint32_t version;
  uint32_t crc;
  uint64_t generation;  // that its holder writes as
  uint64_t renewals;    // goes up with every renewal: how others see that it is alive
  Uuid holder;          // pool of the holder
  Uuid session;         // of the one opening of the volume that holds it; never used again
  int64_t duration_ns;
  int64_t wall_time_ns;  // of the renewal, for people
  LeaseState state;
  std::array<uint8_t, 4096 - 84> reserved;
};
static_assert(sizeof(LeaseBlock) == kBlockBytes && offsetof(LeaseBlock, state) == 80);

/// A superblock and where it came from.
struct LeasedSuper {
  uint64_t generation = 0;
  uint64_t counter = 0;
  SuperBytes bytes{};
};
using HeadBytes = std::array<std::byte, kLeasedHeadBytes>;
using SlotBytes = std::array<std::byte, 2 * kBlockBytes>;

/// A slot as it goes to the volume.
SlotBytes seal_super(const LeasedSuper& super);
/// Sets magic, version and crc.
void seal_lease(LeaseBlock& lease);

/// The newer of the two superblocks. Errors: not_found (the whole head is zeroes: nothing was ever
/// here), damaged (neither slot is valid, or something else is here), unsupported (another
/// version). `where` names the volume.
Result<LeasedSuper> parse_head_super(std::span<const std::byte, kLeasedHeadBytes> head,
                                     std::string_view where);
/// Where a lease with that many renewals is written.
constexpr uint64_t lease_offset(uint64_t renewals) {
  return kLeaseOffset + renewals % 2 * kBlockBytes;
}
/// The newer of both slots' leases; empty if there never was one. Errors: damaged, unsupported.
Result<std::optional<LeaseBlock>> parse_lease(std::span<const std::byte, kLeaseBytes> slots,
                                              std::string_view where);

}  // namespace latte
