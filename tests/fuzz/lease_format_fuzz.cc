// A leased volume's head as hostile bytes, and the addresses of such volumes: whatever they say,
// parsing ends in a value or an error; what is accepted survives being written and read again.
#include <cstring>
#include <memory>
#include <string_view>

#include "device/lease_format.h"
#include "device/nbd_address.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace latte;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto address = NbdAddress::parse(text)) {
    LATTE_CHECK(address.value().base_export != address.value().log_export);
    LATTE_CHECK(address.value().socket.empty() != address.value().host.empty());
  }
  auto head = std::make_unique<HeadBytes>();
  head->fill(std::byte{0});
  // Structured, so that few bytes reach all of it: pieces of 16 bytes with a place before each.
  for (size_t at = 0; at + 18 <= size; at += 18) {
    const size_t place = (static_cast<size_t>(data[at]) << 8 | data[at + 1]) % (head->size() - 16);
    std::memcpy(head->data() + place, data + at + 2, 16);
  }
  // A checksum that fits lets the fields behind it be looked at.
  LeaseBlock lease;
  std::memcpy(&lease, head->data() + kLeaseOffset, sizeof(lease));
  if (size % 2 == 0) {
    seal_lease(lease);
    std::memcpy(head->data() + kLeaseOffset, &lease, sizeof(lease));
  }
  const auto slots = std::span(*head).subspan<kLeaseOffset, kLeaseBytes>();
  const auto parsed = parse_lease(slots, "fuzz");
  if (parsed && parsed.value()) {
    LATTE_CHECK(parsed.value()->duration_ns >= kMinLeaseNs);
    LATTE_CHECK(parsed.value()->duration_ns <= kMaxLeaseNs);
  }
  const auto super = parse_head_super(*head, "fuzz");
  if (super) {
    const SlotBytes slot = seal_super(super.value());
    std::memcpy(head->data() + super.value().counter % 2 * kSuperSlotBytes, slot.data(),
                slot.size());
    LATTE_CHECK(parse_head_super(*head, "fuzz").ok());
  }
  return 0;
}
