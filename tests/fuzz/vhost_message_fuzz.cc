// Fuzzes the vhost-user message parser: a header, a number of descriptors and a payload. What must
// hold: a message that parses keeps the limits it is used by.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "frontend/vhost_user_protocol.h"

namespace latte::vhost {
namespace {

void check_message(const Message& message, std::span<const std::byte> payload, size_t descriptors) {
  LATTE_CHECK(message.region_count <= kMaxDescriptors);
  LATTE_CHECK(message.config_data.size() == message.config.size);
  LATTE_CHECK(message.config.size <= kMaxConfigAccessBytes);
  if (!message.config_data.empty())
    LATTE_CHECK(message.config_data.data() >= payload.data() &&
                message.config_data.data() + message.config_data.size() <=
                    payload.data() + payload.size());
  switch (message.request) {
    case Request::set_mem_table:
      LATTE_CHECK(message.region_count == descriptors);
      break;
    case Request::add_mem_reg:
    case Request::set_inflight_fd:
    case Request::set_backend_req_fd:
      LATTE_CHECK(descriptors == 1);
      break;
    case Request::set_vring_kick:
    case Request::set_vring_call:
    case Request::set_vring_err:
      LATTE_CHECK(message.ring <= 0xff && message.has_fd == (descriptors == 1));
      break;
    default:
      break;
  }
}

}  // namespace
}  // namespace latte::vhost

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace latte::vhost;
  if (size < 1 + sizeof(Header)) return 0;
  const size_t descriptors = data[0] % 12;
  const auto input = std::as_bytes(std::span(data + 1, size - 1));
  auto header = parse_header(input.first<sizeof(Header)>());
  if (!header) return 0;
  LATTE_CHECK(header.value().size <= kMaxPayloadBytes);
  // The length is the connection's to get right: here it is what there is.
  const auto payload = input.subspan(sizeof(Header));
  if (payload.size() > kMaxPayloadBytes) return 0;
  header.value().size = static_cast<uint32_t>(payload.size());
  const auto message = parse_message(header.value(), payload, descriptors);
  if (message) check_message(message.value(), payload, descriptors);
  return 0;
}
