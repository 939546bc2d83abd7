#include "frontend/nbd_parser.h"

#include "base/check.h"

namespace latte::nbd {
namespace {

// Takes values off the front of a span; fails for good at the first one that is not there.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> in) : in_(in) {}

  template <typename Wire>
  [[nodiscard]] bool take(Wire& out) {
    static_assert(std::is_trivially_copyable_v<Wire> && alignof(Wire) == 1);
    if (in_.size() < sizeof(Wire)) return false;
    std::memcpy(&out, in_.data(), sizeof(Wire));
    in_ = in_.subspan(sizeof(Wire));
    return true;
  }
  // A string behind its 32-bit length.
  [[nodiscard]] bool take_string(std::string_view& out) {
    Be32 length;
    if (!take(length) || in_.size() < length.get()) return false;
    out = {reinterpret_cast<const char*>(in_.data()), length.get()};
    in_ = in_.subspan(length.get());
    return valid_string(out);
  }
  std::span<const std::byte> rest() const { return in_; }

 private:
  std::span<const std::byte> in_;
};

}  // namespace

bool valid_string(std::string_view text) {
  return text.size() <= NBD_MAX_STRING && text.find('\0') == std::string_view::npos;
}

Parse parse_request(std::span<const std::byte> in, Request& out) {
  // The magic is checked as soon as it is there: garbage is dropped at its first four bytes.
  Be32 magic;
  if (!Reader(in).take(magic)) return Parse::need_more;
  if (magic.get() != NBD_REQUEST_MAGIC) return Parse::bad;
  RequestHeader header;
  if (!Reader(in).take(header)) return Parse::need_more;
  out.flags = header.flags.get();
  out.type = header.type.get();
  out.cookie = header.cookie.get();
  out.offset = header.offset.get();
  out.length = header.length.get();
  return Parse::complete;
}

Parse parse_option(std::span<const std::byte> in, Option& out) {
  Be64 magic;
  if (!Reader(in).take(magic)) return Parse::need_more;
  if (magic.get() != IHAVEOPT) return Parse::bad;
  OptionHeader header;
  Reader reader(in);
  if (!reader.take(header)) return Parse::need_more;
  out.code = header.option.get();
  out.length = header.length.get();
  if (out.length > kMaxOptionBytes) return Parse::bad;
  if (reader.rest().size() < out.length) return Parse::need_more;
  out.data = reader.rest().first(out.length);
  LATTE_CHECK(out.wire_bytes() <= in.size());
  return Parse::complete;
}

Parse parse_client_flags(std::span<const std::byte> in, uint32_t& out) {
  Be32 flags;
  if (!Reader(in).take(flags)) return Parse::need_more;
  out = flags.get();
  const uint32_t known = NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES;
  return (out & ~known) == 0 ? Parse::complete : Parse::bad;
}

bool parse_info_request(std::span<const std::byte> data, InfoRequest& out) {
  Reader reader(data);
  Be16 count;
  if (!reader.take_string(out.export_name) || !reader.take(count)) return false;
  if (reader.rest().size() != count.get() * sizeof(Be16)) return false;
  Be16 type;
  while (reader.take(type)) {
    if (type.get() == NBD_INFO_NAME) out.wants_name = true;
    if (type.get() == NBD_INFO_DESCRIPTION) out.wants_description = true;
    if (type.get() == NBD_INFO_BLOCK_SIZE) out.wants_block_size = true;
  }
  return true;
}

bool parse_meta_request(std::span<const std::byte> data, MetaRequest& out) {
  Reader reader(data);
  Be32 count;
  if (!reader.take_string(out.export_name) || !reader.take(count)) return false;
  out.query_count = count.get();
  out.queries = reader.rest();
  // Each turn takes at least four bytes of at most kMaxOptionBytes, whatever the count says.
  std::string_view query;
  for (uint32_t i = 0; i < out.query_count; ++i)
    if (!reader.take_string(query)) return false;
  return reader.rest().empty();
}

bool next_query(std::span<const std::byte>& queries, std::string_view& query) {
  if (queries.empty()) return false;
  Reader reader(queries);
  LATTE_CHECK(reader.take_string(query));  // parse_meta_request() has been here
  queries = reader.rest();
  return true;
}

}  // namespace latte::nbd
