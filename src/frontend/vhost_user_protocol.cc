#include "frontend/vhost_user_protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace latte::vhost {
namespace {

constexpr uint64_t kRingIndexMask = 0xff;
constexpr uint64_t kNoDescriptor = 1ull << 8;

// What kinds of payload there are, by their sizes.
enum class Payload : uint8_t {
  none,
  number,
  ring_state,
  ring_addresses,
  table,
  region,
  config,
  inflight,
  ring_fd
};

struct Shape {
  Request request;
  const char* name;
  Payload payload;
  uint8_t min_descriptors;
  uint8_t max_descriptors;
};

constexpr Shape kShapes[] = {
    {Request::get_features, "GET_FEATURES", Payload::none, 0, 0},
    {Request::set_features, "SET_FEATURES", Payload::number, 0, 0},
    {Request::set_owner, "SET_OWNER", Payload::none, 0, 0},
    {Request::reset_owner, "RESET_OWNER", Payload::none, 0, 0},
    {Request::set_mem_table, "SET_MEM_TABLE", Payload::table, 0, kMaxDescriptors},
    {Request::set_vring_num, "SET_VRING_NUM", Payload::ring_state, 0, 0},
    {Request::set_vring_addr, "SET_VRING_ADDR", Payload::ring_addresses, 0, 0},
    {Request::set_vring_base, "SET_VRING_BASE", Payload::ring_state, 0, 0},
    {Request::get_vring_base, "GET_VRING_BASE", Payload::ring_state, 0, 0},
    {Request::set_vring_kick, "SET_VRING_KICK", Payload::ring_fd, 0, 1},
    {Request::set_vring_call, "SET_VRING_CALL", Payload::ring_fd, 0, 1},
    {Request::set_vring_err, "SET_VRING_ERR", Payload::ring_fd, 0, 1},
    {Request::get_protocol_features, "GET_PROTOCOL_FEATURES", Payload::none, 0, 0},
    {Request::set_protocol_features, "SET_PROTOCOL_FEATURES", Payload::number, 0, 0},
    {Request::get_queue_num, "GET_QUEUE_NUM", Payload::none, 0, 0},
    {Request::set_vring_enable, "SET_VRING_ENABLE", Payload::ring_state, 0, 0},
    {Request::set_backend_req_fd, "SET_BACKEND_REQ_FD", Payload::none, 1, 1},
    {Request::get_config, "GET_CONFIG", Payload::config, 0, 0},
    {Request::set_config, "SET_CONFIG", Payload::config, 0, 0},
    {Request::get_inflight_fd, "GET_INFLIGHT_FD", Payload::inflight, 0, 0},
    {Request::set_inflight_fd, "SET_INFLIGHT_FD", Payload::inflight, 1, 1},
    {Request::reset_device, "RESET_DEVICE", Payload::none, 0, 0},
    {Request::get_max_mem_slots, "GET_MAX_MEM_SLOTS", Payload::none, 0, 0},
    {Request::add_mem_reg, "ADD_MEM_REG", Payload::region, 1, 1},
    // One descriptor is tolerated, and closed, because front-ends in use send it.
    {Request::rem_mem_reg, "REM_MEM_REG", Payload::region, 0, 1},
    {Request::set_status, "SET_STATUS", Payload::number, 0, 0},
    {Request::get_status, "GET_STATUS", Payload::none, 0, 0},
};

const Shape* find_shape(uint32_t request) {
  for (const Shape& shape : kShapes)
    if (static_cast<uint32_t>(shape.request) == request) return &shape;
  return nullptr;
}

Error bad_size(const Shape& shape, size_t size) {
  return {Errc::invalid, fmt::format("{} with {} bytes of payload, which is not its size; the "
                                     "front-end does not speak vhost-user",
                                     shape.name, size)};
}

template <typename T>
T load(std::span<const std::byte> bytes, size_t offset = 0) {
  LATTE_CHECK(offset + sizeof(T) <= bytes.size());
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

bool read_table(std::span<const std::byte> payload, size_t descriptors, Message& message) {
  constexpr size_t kTableHead = 8;
  if (payload.size() < kTableHead) return false;
  const auto count = load<uint32_t>(payload);
  // The payload may have room for more regions than it holds.
  if (count > kMaxDescriptors || count != descriptors) return false;
  if (payload.size() < kTableHead + count * sizeof(RegionDescription)) return false;
  message.region_count = count;
  for (uint32_t i = 0; i < count; ++i)
    message.regions[i] =
        load<RegionDescription>(payload, kTableHead + i * sizeof(RegionDescription));
  return true;
}

bool read_config(std::span<const std::byte> payload, Message& message) {
  if (payload.size() < sizeof(ConfigAccess)) return false;
  message.config = load<ConfigAccess>(payload);
  const std::span<const std::byte> rest = payload.subspan(sizeof(ConfigAccess));
  if (message.config.size > kMaxConfigAccessBytes || message.config.size > rest.size())
    return false;
  message.config_data = rest.first(message.config.size);
  return true;
}

bool read_ring_fd(std::span<const std::byte> payload, size_t descriptors, Message& message) {
  if (payload.size() != sizeof(uint64_t)) return false;
  const auto value = load<uint64_t>(payload);
  message.ring = static_cast<uint32_t>(value & kRingIndexMask);
  message.has_fd = (value & kNoDescriptor) == 0;
  return (value & ~(kRingIndexMask | kNoDescriptor)) == 0 && message.has_fd == (descriptors == 1);
}

bool read_inflight(std::span<const std::byte> payload, Message& message) {
  if (payload.size() < kInflightBytes || payload.size() > sizeof(InflightDescription)) return false;
  message.inflight.mmap_size = load<uint64_t>(payload, 0);
  message.inflight.mmap_offset = load<uint64_t>(payload, 8);
  message.inflight.queues = load<uint16_t>(payload, 16);
  message.inflight.queue_size = load<uint16_t>(payload, 18);
  return true;
}

bool read_payload(const Shape& shape, std::span<const std::byte> payload, size_t descriptors,
                  Message& message) {
  switch (shape.payload) {
    case Payload::none:
      // Some front-ends send a number nobody looks at.
      return payload.size() <= sizeof(uint64_t);
    case Payload::number:
      if (payload.size() != sizeof(uint64_t)) return false;
      message.number = load<uint64_t>(payload);
      return true;
    case Payload::ring_state:
      if (payload.size() != 2 * sizeof(uint32_t)) return false;
      message.ring = load<uint32_t>(payload, 0);
      message.value = load<uint32_t>(payload, 4);
      return true;
    case Payload::ring_addresses:
      if (payload.size() != sizeof(RingAddresses)) return false;
      message.addresses = load<RingAddresses>(payload);
      message.ring = message.addresses.index;
      return true;
    case Payload::table:
      return read_table(payload, descriptors, message);
    case Payload::region:
      if (payload.size() != sizeof(uint64_t) + sizeof(RegionDescription)) return false;
      message.regions[0] = load<RegionDescription>(payload, sizeof(uint64_t));
      message.region_count = 1;
      return true;
    case Payload::config:
      return read_config(payload, message);
    case Payload::inflight:
      return read_inflight(payload, message);
    case Payload::ring_fd:
      return read_ring_fd(payload, descriptors, message);
  }
  return false;
}

}  // namespace

const char* to_string(Request request) {
  const Shape* shape = find_shape(static_cast<uint32_t>(request));
  return shape == nullptr ? "?" : shape->name;
}

Result<Header> parse_header(std::span<const std::byte, sizeof(Header)> bytes) {
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if ((header.flags & kFlagVersionMask) != kFlagVersion)
    return Error{Errc::invalid,
                 fmt::format("message flags {:#x}: version 1 is spoken here", header.flags)};
  if ((header.flags & kFlagReply) != 0)
    return Error{Errc::invalid,
                 fmt::format("message {} is a reply, and nothing was asked", header.request)};
  if (header.size > kMaxPayloadBytes)
    return Error{Errc::invalid, fmt::format("message {} with {} bytes of payload; {} is the most",
                                            header.request, header.size, kMaxPayloadBytes)};
  return header;
}

Result<Message> parse_message(const Header& header, std::span<const std::byte> payload,
                              size_t descriptors) {
  LATTE_CHECK(payload.size() == header.size);
  const Shape* shape = find_shape(header.request);
  if (shape == nullptr)
    return Error{Errc::unsupported,
                 fmt::format("message type {} is not served here", header.request)};
  if (descriptors < shape->min_descriptors || descriptors > shape->max_descriptors)
    return Error{Errc::invalid,
                 fmt::format("{} with {} descriptors; it has {} to {}", shape->name, descriptors,
                             shape->min_descriptors, shape->max_descriptors)};
  Message message;
  message.request = shape->request;
  message.need_reply = (header.flags & kFlagNeedReply) != 0;
  if (!read_payload(*shape, payload, descriptors, message)) return bad_size(*shape, payload.size());
  return message;
}

Reply::Reply(uint32_t request, uint32_t flags) {
  const Header header{request, kFlagVersion | flags, 0};
  std::memcpy(bytes_.data(), &header, sizeof(header));
  size_ = sizeof(header);
}

void Reply::append(const void* data, size_t size) {
  LATTE_CHECK(size_ + size <= bytes_.size());
  std::memcpy(bytes_.data() + size_, data, size);
  size_ += size;
  const auto payload = static_cast<uint32_t>(size_ - sizeof(Header));
  std::memcpy(bytes_.data() + offsetof(Header, size), &payload, sizeof(payload));
}

Reply Reply::number(Request request, uint64_t value) {
  Reply reply(static_cast<uint32_t>(request), kFlagReply);
  reply.append(&value, sizeof(value));
  return reply;
}

Reply Reply::ring_state(Request request, uint32_t index, uint32_t value) {
  Reply reply(static_cast<uint32_t>(request), kFlagReply);
  reply.append(&index, sizeof(index));
  reply.append(&value, sizeof(value));
  return reply;
}

Reply Reply::inflight(Request request, const InflightDescription& description) {
  Reply reply(static_cast<uint32_t>(request), kFlagReply);
  reply.append(&description.mmap_size, sizeof(description.mmap_size));
  reply.append(&description.mmap_offset, sizeof(description.mmap_offset));
  reply.append(&description.queues, sizeof(description.queues));
  reply.append(&description.queue_size, sizeof(description.queue_size));
  // The C struct's padding, which front-ends count.
  const uint32_t padding = 0;
  reply.append(&padding, sizeof(padding));
  return reply;
}

Reply Reply::config(const ConfigAccess& access, std::span<const std::byte> data) {
  Reply reply(static_cast<uint32_t>(Request::get_config), kFlagReply);
  if (data.empty()) return reply;
  LATTE_CHECK(data.size() == access.size);
  reply.append(&access, sizeof(access));
  reply.append(data.data(), data.size());
  return reply;
}

Reply Reply::backend_request(uint32_t request) { return Reply(request, 0); }

}  // namespace latte::vhost
