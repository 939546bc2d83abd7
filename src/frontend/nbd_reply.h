// Replies of the transmission phase: the fixed bytes in front of a reply's data.
//
// Invariants:
//  1. A reply is one header and at most one piece of data right behind it; with structured replies
//     that is one chunk with the DONE flag, so replies are never fragmented (DF is always
//     honoured).
//  2. A read is answered with a structured reply exactly if those were agreed on.
// Thread rule: none. Limits: kMaxReplyHeaderBytes; kMaxStatusExtents extents a block status reply.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/buffer.h"
#include "frontend/nbd_parser.h"
#include "frontend/nbd_protocol.h"
#include "runtime/block_device.h"

namespace latte::nbd {

/// Longest of the fixed parts, bytes.
inline constexpr size_t kMaxReplyHeaderBytes = std::max(sizeof(DataChunk), sizeof(ErrorChunk));
static_assert(kMaxReplyHeaderBytes >= std::max(sizeof(BlockStatusChunk), sizeof(SimpleReply)));
/// Most extents described at once: the descriptors fit a page, and a client asks on from where a
/// reply ends.
inline constexpr size_t kMaxStatusExtents = 256;
static_assert(kMaxStatusExtents * sizeof(BlockDescriptor) <= kBlockBytes);

class ReplyHeader {
 public:
  /// Success without data, for everything but a read.
  static ReplyHeader success(const Request& request);
  /// Success of a read; the caller sends request.length bytes behind it.
  static ReplyHeader read(const Request& request, bool structured);
  /// Failure. With structured replies the caller sends `message` behind it, else nothing.
  static ReplyHeader error(const Request& request, NbdError error, bool structured,
                           std::string_view message);
  /// Block status; the caller sends `descriptor_bytes` of descriptors behind it.
  static ReplyHeader block_status(const Request& request, size_t descriptor_bytes);

  std::span<const std::byte> bytes() const { return std::span(bytes_).first(size_); }

 private:
  template <typename Wire>
  void set(const Wire& wire);

  std::array<std::byte, kMaxReplyHeaderBytes> bytes_;
  uint32_t size_ = 0;
};

/// Asks `device` for the extents of a checked NBD_CMD_BLOCK_STATUS and returns the descriptors: at
/// least one, neighbours that say the same merged, none beyond the request.
Buffer describe_extents(BlockDevice& device, const Request& request);

}  // namespace latte::nbd
