// The vhost-user protocol's messages: header, payloads, replies. Pure: bytes in, values out.
// From the specification "Vhost-user Protocol" (sections Message Specification, Front-end message
// types, Back-end message types); all numbers are in the machine's byte order, as it says.
//
// Invariants:
//  1. A Message that parse_message() returns has the payload its type asks for, of the right size,
//     and as many descriptors as it must have. What the values mean is not checked here.
// Thread rule: none; plain values. Limits: kMaxPayloadBytes, kMaxDescriptors a message.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace latte::vhost {

enum class Request : uint32_t {
  get_features = 1,
  set_features = 2,
  set_owner = 3,
  reset_owner = 4,
  set_mem_table = 5,
  set_vring_num = 8,
  set_vring_addr = 9,
  set_vring_base = 10,
  get_vring_base = 11,
  set_vring_kick = 12,
  set_vring_call = 13,
  set_vring_err = 14,
  get_protocol_features = 15,
  set_protocol_features = 16,
  get_queue_num = 17,
  set_vring_enable = 18,
  set_backend_req_fd = 21,
  get_config = 24,
  set_config = 25,
  get_inflight_fd = 31,
  set_inflight_fd = 32,
  reset_device = 34,
  get_max_mem_slots = 36,
  add_mem_reg = 37,
  rem_mem_reg = 38,
  set_status = 39,
  get_status = 40,
};
/// The request's name as the specification writes it, without its prefix; "?" if unknown.
const char* to_string(Request request);

/// What the back-end sends to the front-end on its own channel.
inline constexpr uint32_t kBackendConfigChange = 2;

/// Feature bit 30: protocol features can be negotiated.
inline constexpr uint64_t kFeatureProtocol = 1ull << 30;
inline constexpr uint64_t kProtocolMultiQueue = 1ull << 0;
inline constexpr uint64_t kProtocolReplyAck = 1ull << 3;
inline constexpr uint64_t kProtocolBackendRequests = 1ull << 5;
inline constexpr uint64_t kProtocolConfig = 1ull << 9;
inline constexpr uint64_t kProtocolInflight = 1ull << 12;
inline constexpr uint64_t kProtocolResetDevice = 1ull << 13;
inline constexpr uint64_t kProtocolMemorySlots = 1ull << 15;
inline constexpr uint64_t kProtocolStatus = 1ull << 16;
/// What this server offers. Not LOG_SHMFD: no live migration.
inline constexpr uint64_t kProtocolOffered =
    kProtocolMultiQueue | kProtocolReplyAck | kProtocolBackendRequests | kProtocolConfig |
    kProtocolInflight | kProtocolResetDevice | kProtocolMemorySlots | kProtocolStatus;

struct Header {
  uint32_t request = 0;
  uint32_t flags = 0;
  uint32_t size = 0;  ///< bytes of payload
};
static_assert(sizeof(Header) == 12);
inline constexpr uint32_t kFlagVersion = 1;
inline constexpr uint32_t kFlagVersionMask = 3;
inline constexpr uint32_t kFlagReply = 1u << 2;
inline constexpr uint32_t kFlagNeedReply = 1u << 3;

/// The longest payload: a configuration access of kMaxConfigBytes. A memory table is shorter.
inline constexpr uint32_t kMaxConfigAccessBytes = 256;
inline constexpr uint32_t kMaxPayloadBytes = 12 + kMaxConfigAccessBytes;
/// Regions of one SET_MEM_TABLE, and so descriptors of one message
/// (VHOST_MEMORY_BASELINE_NREGIONS).
inline constexpr uint32_t kMaxDescriptors = 8;

struct RegionDescription {
  uint64_t guest_address = 0;
  uint64_t size = 0;
  uint64_t user_address = 0;
  uint64_t mmap_offset = 0;
};
static_assert(sizeof(RegionDescription) == 32);

struct RingAddresses {
  uint32_t index = 0;
  uint32_t flags = 0;
  uint64_t descriptors = 0;  ///< user addresses, all three
  uint64_t used = 0;
  uint64_t available = 0;
  uint64_t log = 0;
};
static_assert(sizeof(RingAddresses) == 40);

struct InflightDescription {
  uint64_t mmap_size = 0;
  uint64_t mmap_offset = 0;
  uint16_t queues = 0;
  uint16_t queue_size = 0;
};
/// On the wire: without the padding that the C struct has at its end, or with it.
inline constexpr size_t kInflightBytes = 20;

struct ConfigAccess {
  uint32_t offset = 0;
  uint32_t size = 0;
  uint32_t flags = 0;
};
static_assert(sizeof(ConfigAccess) == 12);

/// A request with its payload; only the members that its type has are set.
struct Message {
  Request request = Request::get_features;
  bool need_reply = false;
  uint64_t number = 0;  ///< u64 payloads; descriptors' messages: the ring's index only
  bool has_fd = false;  ///< SET_VRING_KICK, CALL, ERR: not the "invalid FD" flag
  uint32_t ring = 0;    ///< of all messages about one ring
  uint32_t value = 0;   ///< the num of a vring state
  RingAddresses addresses;
  std::array<RegionDescription, kMaxDescriptors> regions;
  uint32_t region_count = 0;
  ConfigAccess config;
  std::span<const std::byte> config_data;  ///< SET_CONFIG; inside the payload parsed
  InflightDescription inflight;
};

/// Reads the first 12 bytes of a message. Errors: invalid (version, flags, size).
Result<Header> parse_header(std::span<const std::byte, sizeof(Header)> bytes);

/// Reads a payload of `header.size` bytes that came with `descriptors` descriptors. The result may
/// point into `payload`. Errors: unsupported (type), invalid.
Result<Message> parse_message(const Header& header, std::span<const std::byte> payload,
                              size_t descriptors);

/// A message from this side, ready to be sent.
class Reply {
 public:
  /// `request`: the one that is answered.
  static Reply number(Request request, uint64_t value);
  static Reply ring_state(Request request, uint32_t index, uint32_t value);
  static Reply inflight(Request request, const InflightDescription& description);
  /// `data` empty: the access failed.
  static Reply config(const ConfigAccess& access, std::span<const std::byte> data);
  /// Not an answer, but a request on the back-end's channel, without payload.
  static Reply backend_request(uint32_t request);

  std::span<const std::byte> bytes() const { return {bytes_.data(), size_}; }

 private:
  Reply(uint32_t request, uint32_t flags);
  void append(const void* data, size_t size);

  std::array<std::byte, sizeof(Header) + kMaxPayloadBytes> bytes_{};
  size_t size_ = 0;
};

}  // namespace latte::vhost
