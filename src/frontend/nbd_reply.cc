#include "frontend/nbd_reply.h"

#include "base/check.h"
#include "frontend/nbd_export.h"

namespace latte::nbd {
namespace {

StructuredReply only_chunk(const Request& request, uint16_t type, size_t length) {
  LATTE_CHECK(length <= NBD_MAX_PAYLOAD + sizeof(Be64));
  return {NBD_STRUCTURED_REPLY_MAGIC, NBD_REPLY_FLAG_DONE, type, request.cookie,
          static_cast<uint32_t>(length)};
}

uint32_t state_of(const Extent& extent) {
  return (extent.hole ? NBD_STATE_HOLE : 0) | (extent.zero ? NBD_STATE_ZERO : 0);
}

}  // namespace

template <typename Wire>
void ReplyHeader::set(const Wire& wire) {
  static_assert(sizeof(Wire) <= kMaxReplyHeaderBytes && alignof(Wire) == 1);
  std::memcpy(bytes_.data(), &wire, sizeof(Wire));
  size_ = sizeof(Wire);
}

ReplyHeader ReplyHeader::success(const Request& request) {
  LATTE_CHECK(request.type != NBD_CMD_READ && request.type != NBD_CMD_BLOCK_STATUS);
  ReplyHeader header;
  header.set(SimpleReply{NBD_SIMPLE_REPLY_MAGIC, 0u, request.cookie});
  return header;
}

ReplyHeader ReplyHeader::read(const Request& request, bool structured) {
  LATTE_CHECK(request.type == NBD_CMD_READ && request.length > 0);
  ReplyHeader header;
  if (structured) {
    const size_t length = sizeof(Be64) + request.length;
    header.set(DataChunk{only_chunk(request, NBD_REPLY_TYPE_OFFSET_DATA, length), request.offset});
  } else {
    header.set(SimpleReply{NBD_SIMPLE_REPLY_MAGIC, 0u, request.cookie});
  }
  return header;
}

ReplyHeader ReplyHeader::error(const Request& request, NbdError error, bool structured,
                               std::string_view message) {
  LATTE_CHECK(error != NbdError::none && message.size() <= NBD_MAX_STRING);
  const auto value = static_cast<uint32_t>(error);
  ReplyHeader header;
  if (structured) {
    const size_t length = sizeof(Be32) + sizeof(Be16) + message.size();
    header.set(ErrorChunk{only_chunk(request, NBD_REPLY_TYPE_ERROR, length), value,
                          static_cast<uint16_t>(message.size())});
  } else {
    header.set(SimpleReply{NBD_SIMPLE_REPLY_MAGIC, value, request.cookie});
  }
  return header;
}

ReplyHeader ReplyHeader::block_status(const Request& request, size_t descriptor_bytes) {
  LATTE_CHECK(descriptor_bytes > 0 && descriptor_bytes % sizeof(BlockDescriptor) == 0);
  ReplyHeader header;
  header.set(BlockStatusChunk{
      only_chunk(request, NBD_REPLY_TYPE_BLOCK_STATUS, sizeof(Be32) + descriptor_bytes),
      kAllocationContextId});
  return header;
}

Buffer describe_extents(BlockDevice& device, const Request& request) {
  LATTE_CHECK(request.type == NBD_CMD_BLOCK_STATUS && request.length > 0);
  const bool one = (request.flags & NBD_CMD_FLAG_REQ_ONE) != 0;
  std::array<Extent, kMaxStatusExtents> extents;
  const size_t known = device.extents(request.offset, request.length, extents);
  LATTE_CHECK(known > 0 && known <= extents.size());

  std::array<BlockDescriptor, kMaxStatusExtents> descriptors;
  size_t count = 0;
  uint32_t left = request.length;
  for (size_t i = 0; i < known && left > 0;) {
    const uint32_t state = state_of(extents[i]);
    uint64_t run = 0;
    for (; i < known && state_of(extents[i]) == state; ++i) run += extents[i].length;
    const auto length = static_cast<uint32_t>(std::min<uint64_t>(run, left));
    LATTE_CHECK(length > 0);
    descriptors[count++] = BlockDescriptor{length, state};
    left -= length;
    if (one) break;
  }
  Buffer out(count * sizeof(BlockDescriptor));
  std::memcpy(out.data(), descriptors.data(), out.size());
  return out;
}

}  // namespace latte::nbd
