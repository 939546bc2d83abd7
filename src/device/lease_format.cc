#include "device/lease_format.h"

#include <fmt/core.h>

#include <cstring>

#include "base/all_zero.h"
#include "base/crc32c.h"

namespace latte {
namespace {

constexpr uint64_t kSuperMagic = 0x31505553'5454414cull;  // "LATTSUP1"
constexpr uint64_t kLeaseMagic = 0x3145534c'5454414cull;  // "LATTLSE1"
/// Most of anything that counts up: keeps sums far from overflow.
constexpr uint64_t kMost = 1ull << 60;

uint32_t super_crc(SuperHeader header, std::span<const std::byte> bytes) {
  header.crc = 0;
  return crc32c(bytes, crc32c(std::as_bytes(std::span(&header, 1))));
}

Error other_version(std::string_view where, std::string_view what, uint32_t version) {
  return Error{Errc::unsupported,
               fmt::format("{}: the {} has format version {}, this build reads {}; use a matching "
                           "build of latte",
                           where, what, version, kLeaseFormatVersion)};
}

bool plausible(const LeaseBlock& lease) {
  return lease.generation < kMost && lease.renewals < kMost && lease.duration_ns >= kMinLeaseNs &&
         lease.duration_ns <= kMaxLeaseNs &&
         (lease.state == LeaseState::held || lease.state == LeaseState::released);
}

enum class Slot { empty, valid, other_version, damaged };

Slot parse_slot(std::span<const std::byte> slot, LeasedSuper& out, uint32_t& version) {
  SuperHeader header;
  std::memcpy(&header, slot.data(), sizeof(header));
  const auto bytes = slot.subspan(sizeof(header), kBlockBytes);
  if (all_zero(slot.first(sizeof(header)))) return Slot::empty;
  version = header.version;
  if (header.magic != kSuperMagic || header.crc != super_crc(header, bytes)) return Slot::damaged;
  if (header.version != kLeaseFormatVersion) return Slot::other_version;
  if (header.generation >= kMost || header.counter >= kMost) return Slot::damaged;
  out.generation = header.generation;
  out.counter = header.counter;
  std::memcpy(out.bytes.data(), bytes.data(), out.bytes.size());
  return Slot::valid;
}

}  // namespace

SlotBytes seal_super(const LeasedSuper& super) {
  SuperHeader header{};
  header.magic = kSuperMagic;
  header.version = kLeaseFormatVersion;
  header.generation = super.generation;
  header.counter = super.counter;
  header.crc = super_crc(header, super.bytes);
  SlotBytes slot;
  std::memcpy(slot.data(), &header, sizeof(header));
  std::memcpy(slot.data() + sizeof(header), super.bytes.data(), super.bytes.size());
  return slot;
}

void seal_lease(LeaseBlock& lease) {
  lease.magic = kLeaseMagic;
  lease.version = kLeaseFormatVersion;
  lease.crc = struct_crc(lease);
}

Result<LeasedSuper> parse_head_super(std::span<const std::byte, kLeasedHeadBytes> head,
                                     std::string_view where) {
  std::array<LeasedSuper, 2> found;
  std::array<Slot, 2> slots{};
  uint32_t version = 0;
  for (size_t i = 0; i < 2; ++i)
    slots[i] = parse_slot(head.subspan(i * kSuperSlotBytes, kSuperSlotBytes), found[i], version);
  if (slots[0] == Slot::other_version || slots[1] == Slot::other_version)
    return other_version(where, "superblock", version);
  const bool first = slots[0] == Slot::valid;
  const bool second = slots[1] == Slot::valid;
  if (first && (!second || found[0].counter > found[1].counter)) return found[0];
  if (second) return found[1];
  if (all_zero(head))
    return Error{Errc::not_found, fmt::format("{}: no disk here; create it first", where)};
  // A first swap that was torn left a lease and no superblock: no disk has been here yet.
  const auto lease = parse_lease(head.subspan<kLeaseOffset, kLeaseBytes>(), where);
  const bool never_finished = lease && lease.value() && slots[0] == Slot::empty;
  if (never_finished && lease.value()->generation <= 1)
    return Error{Errc::not_found,
                 fmt::format("{}: no disk here yet (its creation was interrupted)", where)};
  return Error{Errc::damaged,
               fmt::format("{}: the head of the log export is neither empty nor a valid Latte "
                           "superblock; name an export of the disk's own, or restore it from a "
                           "copy",
                           where)};
}

Result<std::optional<LeaseBlock>> parse_lease(std::span<const std::byte, kLeaseBytes> slots,
                                              std::string_view where) {
  std::optional<LeaseBlock> newest;
  int empty = 0;
  for (size_t i = 0; i < 2; ++i) {
    LeaseBlock lease;
    std::memcpy(&lease, slots.data() + i * kBlockBytes, sizeof(lease));
    if (all_zero(slots.subspan(i * kBlockBytes, kBlockBytes))) ++empty;
    if (lease.magic != kLeaseMagic || lease.crc != struct_crc(lease)) continue;
    if (lease.version != kLeaseFormatVersion) return other_version(where, "lease", lease.version);
    if (plausible(lease) && (!newest || lease.renewals > newest->renewals)) newest = lease;
  }
  // One that was torn when it was the first says as little as none.
  if (newest || empty > 0) return newest;
  return Error{Errc::damaged,
               fmt::format("{}: the lease is damaged; make sure that no other host serves the "
                           "disk, then latte takeover --force-unfenced DISKID",
                           where)};
}

}  // namespace latte
