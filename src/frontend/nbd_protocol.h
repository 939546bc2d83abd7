// The NBD protocol's wire format: constants under the names the specification gives them
// (NetworkBlockDevice/nbd, doc/proto.md) and the fixed messages as structs of big-endian fields.
//
// Invariants:
//  1. A wire struct has alignment 1 and no padding: it may lie anywhere in a byte stream.
//  2. Values are the specification's; nothing here is Latte's own.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace latte::nbd {

constexpr uint16_t byte_swap(uint16_t value) { return __builtin_bswap16(value); }
constexpr uint32_t byte_swap(uint32_t value) { return __builtin_bswap32(value); }
constexpr uint64_t byte_swap(uint64_t value) { return __builtin_bswap64(value); }

/// An unsigned integer in network byte order.
template <typename T>
class BigEndian {
  static_assert(std::is_unsigned_v<T> && std::endian::native == std::endian::little);

 public:
  BigEndian() = default;
  constexpr BigEndian(T value) : bytes_(std::bit_cast<Bytes>(byte_swap(value))) {}
  constexpr T get() const { return byte_swap(std::bit_cast<T>(bytes_)); }

 private:
  using Bytes = std::array<uint8_t, sizeof(T)>;
  Bytes bytes_{};
};
using Be16 = BigEndian<uint16_t>;
using Be32 = BigEndian<uint32_t>;
using Be64 = BigEndian<uint64_t>;

// Handshake.
inline constexpr uint64_t NBDMAGIC = 0x4e42444d41474943;
inline constexpr uint64_t IHAVEOPT = 0x49484156454F5054;
inline constexpr uint64_t NBD_REP_MAGIC = 0x0003e889045565a9;

inline constexpr uint16_t NBD_FLAG_FIXED_NEWSTYLE = 1 << 0;
inline constexpr uint16_t NBD_FLAG_NO_ZEROES = 1 << 1;
inline constexpr uint32_t NBD_FLAG_C_FIXED_NEWSTYLE = 1 << 0;
inline constexpr uint32_t NBD_FLAG_C_NO_ZEROES = 1 << 1;

inline constexpr uint16_t NBD_FLAG_HAS_FLAGS = 1 << 0;
inline constexpr uint16_t NBD_FLAG_SEND_FLUSH = 1 << 2;
inline constexpr uint16_t NBD_FLAG_SEND_FUA = 1 << 3;
inline constexpr uint16_t NBD_FLAG_SEND_TRIM = 1 << 5;
inline constexpr uint16_t NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6;
inline constexpr uint16_t NBD_FLAG_SEND_DF = 1 << 7;
inline constexpr uint16_t NBD_FLAG_CAN_MULTI_CONN = 1 << 8;
inline constexpr uint16_t NBD_FLAG_SEND_FAST_ZERO = 1 << 11;

inline constexpr uint32_t NBD_OPT_EXPORT_NAME = 1;
inline constexpr uint32_t NBD_OPT_ABORT = 2;
inline constexpr uint32_t NBD_OPT_LIST = 3;
inline constexpr uint32_t NBD_OPT_STARTTLS = 5;
inline constexpr uint32_t NBD_OPT_INFO = 6;
inline constexpr uint32_t NBD_OPT_GO = 7;
inline constexpr uint32_t NBD_OPT_STRUCTURED_REPLY = 8;
inline constexpr uint32_t NBD_OPT_LIST_META_CONTEXT = 9;
inline constexpr uint32_t NBD_OPT_SET_META_CONTEXT = 10;

inline constexpr uint32_t NBD_REP_ACK = 1;
inline constexpr uint32_t NBD_REP_SERVER = 2;
inline constexpr uint32_t NBD_REP_INFO = 3;
inline constexpr uint32_t NBD_REP_META_CONTEXT = 4;
inline constexpr uint32_t NBD_REP_ERR_UNSUP = (1u << 31) + 1;
inline constexpr uint32_t NBD_REP_ERR_POLICY = (1u << 31) + 2;
inline constexpr uint32_t NBD_REP_ERR_INVALID = (1u << 31) + 3;
inline constexpr uint32_t NBD_REP_ERR_UNKNOWN = (1u << 31) + 6;

inline constexpr uint16_t NBD_INFO_EXPORT = 0;
inline constexpr uint16_t NBD_INFO_NAME = 1;
inline constexpr uint16_t NBD_INFO_DESCRIPTION = 2;
inline constexpr uint16_t NBD_INFO_BLOCK_SIZE = 3;

// Transmission.
inline constexpr uint32_t NBD_REQUEST_MAGIC = 0x25609513;
inline constexpr uint32_t NBD_SIMPLE_REPLY_MAGIC = 0x67446698;
inline constexpr uint32_t NBD_STRUCTURED_REPLY_MAGIC = 0x668e33ef;

inline constexpr uint16_t NBD_CMD_READ = 0;
inline constexpr uint16_t NBD_CMD_WRITE = 1;
inline constexpr uint16_t NBD_CMD_DISC = 2;
inline constexpr uint16_t NBD_CMD_FLUSH = 3;
inline constexpr uint16_t NBD_CMD_TRIM = 4;
inline constexpr uint16_t NBD_CMD_WRITE_ZEROES = 6;
inline constexpr uint16_t NBD_CMD_BLOCK_STATUS = 7;

inline constexpr uint16_t NBD_CMD_FLAG_FUA = 1 << 0;
inline constexpr uint16_t NBD_CMD_FLAG_NO_HOLE = 1 << 1;
inline constexpr uint16_t NBD_CMD_FLAG_DF = 1 << 2;
inline constexpr uint16_t NBD_CMD_FLAG_REQ_ONE = 1 << 3;
inline constexpr uint16_t NBD_CMD_FLAG_FAST_ZERO = 1 << 4;

inline constexpr uint16_t NBD_REPLY_FLAG_DONE = 1 << 0;
inline constexpr uint16_t NBD_REPLY_TYPE_NONE = 0;
inline constexpr uint16_t NBD_REPLY_TYPE_OFFSET_DATA = 1;
inline constexpr uint16_t NBD_REPLY_TYPE_BLOCK_STATUS = 5;
inline constexpr uint16_t NBD_REPLY_TYPE_ERROR = (1u << 15) + 1;

inline constexpr uint32_t NBD_STATE_HOLE = 1 << 0;
inline constexpr uint32_t NBD_STATE_ZERO = 1 << 1;

/// Error values of replies; they look like Linux's errno but are the protocol's own.
enum class NbdError : uint32_t {
  none = 0,
  NBD_EPERM = 1,
  NBD_EIO = 5,
  NBD_ENOMEM = 12,
  NBD_EINVAL = 22,
  NBD_ENOSPC = 28,
  NBD_EOVERFLOW = 75,
  NBD_ENOTSUP = 95,
  NBD_ESHUTDOWN = 108,
};

/// Longest string (export name, query, message), bytes.
inline constexpr uint32_t NBD_MAX_STRING = 4096;
/// Largest payload every server must accept, bytes.
inline constexpr uint32_t NBD_MAX_PAYLOAD = 1u << 25;

/// S: first bytes of a connection.
struct Greeting {
  Be64 magic;  ///< NBDMAGIC
  Be64 style;  ///< IHAVEOPT
  Be16 handshake_flags;
};
/// C: followed by `length` bytes.
struct OptionHeader {
  Be64 magic;  ///< IHAVEOPT
  Be32 option;
  Be32 length;
};
/// S: followed by `length` bytes.
struct OptionReplyHeader {
  Be64 magic;  ///< NBD_REP_MAGIC
  Be32 option;
  Be32 type;
  Be32 length;
};
/// S: the answer to NBD_OPT_EXPORT_NAME; 124 zeroes follow unless NO_ZEROES was agreed.
struct ExportReply {
  Be64 size_bytes;
  Be16 transmission_flags;
};
inline constexpr size_t kExportReplyZeroes = 124;
struct InfoExport {
  Be16 type;  ///< NBD_INFO_EXPORT
  Be64 size_bytes;
  Be16 transmission_flags;
};
struct InfoBlockSize {
  Be16 type;  ///< NBD_INFO_BLOCK_SIZE
  Be32 minimum_bytes;
  Be32 preferred_bytes;
  Be32 maximum_bytes;
};
/// C: followed by `length` bytes if it is a NBD_CMD_WRITE.
struct RequestHeader {
  Be32 magic;  ///< NBD_REQUEST_MAGIC
  Be16 flags;
  Be16 type;
  Be64 cookie;
  Be64 offset;
  Be32 length;
};
/// S: followed by the data if it answers a NBD_CMD_READ without error.
struct SimpleReply {
  Be32 magic;  ///< NBD_SIMPLE_REPLY_MAGIC
  Be32 error;
  Be64 cookie;
};
/// S: followed by `length` bytes.
struct StructuredReply {
  Be32 magic;  ///< NBD_STRUCTURED_REPLY_MAGIC
  Be16 flags;
  Be16 type;
  Be64 cookie;
  Be32 length;
};
/// NBD_REPLY_TYPE_OFFSET_DATA up to its data.
struct DataChunk {
  StructuredReply header;
  Be64 offset;
};
/// NBD_REPLY_TYPE_ERROR up to its message.
struct ErrorChunk {
  StructuredReply header;
  Be32 error;
  Be16 message_length;
};
/// NBD_REPLY_TYPE_BLOCK_STATUS up to its descriptors.
struct BlockStatusChunk {
  StructuredReply header;
  Be32 context_id;
};
struct BlockDescriptor {
  Be32 length;
  Be32 flags;
};

static_assert(sizeof(Greeting) == 18 && alignof(Greeting) == 1);
static_assert(sizeof(OptionHeader) == 16 && alignof(OptionHeader) == 1);
static_assert(sizeof(OptionReplyHeader) == 20);
static_assert(sizeof(ExportReply) == 10);
static_assert(sizeof(InfoExport) == 12);
static_assert(sizeof(InfoBlockSize) == 14);
static_assert(sizeof(RequestHeader) == 28 && alignof(RequestHeader) == 1);
static_assert(offsetof(RequestHeader, cookie) == 8 && offsetof(RequestHeader, length) == 24);
static_assert(sizeof(SimpleReply) == 16 && offsetof(SimpleReply, cookie) == 8);
static_assert(sizeof(StructuredReply) == 20 && offsetof(StructuredReply, length) == 16);
static_assert(sizeof(DataChunk) == 28);
static_assert(sizeof(ErrorChunk) == 26);
static_assert(sizeof(BlockStatusChunk) == 24);
static_assert(sizeof(BlockDescriptor) == 8);

}  // namespace latte::nbd
