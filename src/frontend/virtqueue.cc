#include "frontend/virtqueue.h"

#include "frontend/ring_access.h"

namespace latte::vhost {

Result<std::unique_ptr<Virtqueue>> Virtqueue::started(std::unique_ptr<Virtqueue> ring,
                                                      const GuestMemory& memory) {
  if (!ring->relocate(memory))
    return Error{Errc::invalid, "the ring is not in the guest's memory, or not aligned"};
  const Result<void> result = ring->start();
  if (!result) return result.error();
  return ring;
}

bool Virtqueue::add(const GuestMemory& memory, const Descriptor& descriptor, Chain& chain) {
  if (descriptor.length == 0) {
    reason_ = "a descriptor has length 0";
    return false;
  }
  const bool writable = (descriptor.flags & VRING_DESC_F_WRITE) != 0;
  if (!writable && chain.readable != chain.pieces.size()) {
    reason_ = "a descriptor to be read follows one to be written";
    return false;
  }
  if (!memory.append_pieces(descriptor.address, descriptor.length, kMaxChainPieces, chain.pieces)) {
    reason_ = "a descriptor is not in the guest's memory";
    return false;
  }
  if (!writable) chain.readable = static_cast<uint32_t>(chain.pieces.size());
  return true;
}

Descriptor read_descriptor(const std::byte* at) {
  const auto* shared = reinterpret_cast<const Descriptor*>(at);
  return {load_once(&shared->address), load_once(&shared->length), load_once(&shared->flags),
          load_once(&shared->next)};
}

Descriptor read_packed_descriptor(const std::byte* at) {
  const auto* shared = reinterpret_cast<const PackedDescriptor*>(at);
  return {load_once(&shared->address), load_once(&shared->length), load_once(&shared->flags),
          load_once(&shared->id)};
}

bool Virtqueue::add_table(const GuestMemory& memory, const Descriptor& head, bool packed,
                          Chain& chain) {
  const uint32_t count = head.length / sizeof(Descriptor);
  if (head.length % sizeof(Descriptor) != 0 || count == 0 || count > kMaxChainDescriptors) {
    reason_ = "an indirect table has a length that is none";
    return false;
  }
  uint32_t index = 0;
  for (uint32_t taken = 0; taken < count; ++taken) {
    const uint64_t address = head.address + index * sizeof(Descriptor);
    const std::byte* at = memory.translate(address, sizeof(Descriptor));
    if (!present_and_aligned(at, sizeof(uint64_t))) {
      reason_ = "an indirect table is not in the guest's memory, or not aligned";
      return false;
    }
    const Descriptor descriptor = packed ? read_packed_descriptor(at) : read_descriptor(at);
    if ((descriptor.flags & VRING_DESC_F_INDIRECT) != 0) {
      reason_ = "an indirect table in an indirect table";
      return false;
    }
    if (!add(memory, descriptor, chain)) return false;
    index = packed ? index + 1 : descriptor.next;
    if (!packed && (descriptor.flags & VRING_DESC_F_NEXT) == 0) return true;
    if (!packed && index >= count) {
      reason_ = "an indirect table goes on beyond its end";
      return false;
    }
  }
  if (!packed) reason_ = "an indirect table is a loop";
  return packed;
}

}  // namespace latte::vhost
