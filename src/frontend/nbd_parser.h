// The NBD server's parser: what a client sends, from bytes to values. Pure functions, no I/O.
//
// Invariants:
//  1. Nothing outside the given span is read, whatever the bytes say.
//  2. A result's views point into the span they were parsed from and live no longer.
// Thread rule: none. Limits: kMaxOptionBytes, NBD_MAX_STRING.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "frontend/nbd_protocol.h"

namespace latte::nbd {

/// Longest option data accepted. Room for the longest name and a few longest queries; what is
/// longer is not a client but an attack.
inline constexpr uint32_t kMaxOptionBytes = 16u << 10;
static_assert(kMaxOptionBytes >= 3 * NBD_MAX_STRING);

enum class Parse : uint8_t {
  complete,
  need_more,  ///< the bytes are the beginning of something; ask again with more of them
  bad,        ///< not NBD, or beyond a limit: there is no way to find the next message
};

/// A request of the transmission phase, without a write's payload.
struct Request {
  uint16_t flags = 0;
  uint16_t type = 0;
  uint64_t cookie = 0;
  uint64_t offset = 0;
  uint32_t length = 0;
};
/// Parses the request at the front of `in`; it takes sizeof(RequestHeader) bytes.
Parse parse_request(std::span<const std::byte> in, Request& out);

/// An option of the handshake with all its data.
struct Option {
  uint32_t code = 0;
  uint32_t length = 0;  ///< of the data; set as soon as the header is there, for messages
  std::span<const std::byte> data;
  size_t wire_bytes() const { return sizeof(OptionHeader) + data.size(); }
};
/// Parses the option at the front of `in`; it takes out.wire_bytes().
Parse parse_option(std::span<const std::byte> in, Option& out);

/// The client's flags at the front of `in`; they take 4 bytes. Unknown flags are bad.
Parse parse_client_flags(std::span<const std::byte> in, uint32_t& out);

/// Data of NBD_OPT_INFO and NBD_OPT_GO.
struct InfoRequest {
  std::string_view export_name;
  bool wants_name = false;
  bool wants_description = false;
  bool wants_block_size = false;
};
/// False if `data` is malformed.
[[nodiscard]] bool parse_info_request(std::span<const std::byte> data, InfoRequest& out);

/// Data of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT, checked to the end.
struct MetaRequest {
  std::string_view export_name;
  uint32_t query_count = 0;
  std::span<const std::byte> queries;  ///< for next_query()
};
/// False if `data` is malformed.
[[nodiscard]] bool parse_meta_request(std::span<const std::byte> data, MetaRequest& out);
/// Takes the next query off `queries` of a parsed MetaRequest; false at the end.
[[nodiscard]] bool next_query(std::span<const std::byte>& queries, std::string_view& query);

/// True if `text` keeps the specification's rules for strings (length, no NUL).
bool valid_string(std::string_view text);

}  // namespace latte::nbd
