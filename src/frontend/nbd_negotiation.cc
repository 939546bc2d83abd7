#include "frontend/nbd_negotiation.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace latte::nbd {
namespace {

constexpr std::string_view kAllocation = "base:allocation";
constexpr std::string_view kBaseNamespace = "base:";

using Bytes = std::vector<std::byte>;

template <typename Wire>
void append(Bytes& out, const Wire& value) {
  static_assert(std::is_trivially_copyable_v<Wire> && alignof(Wire) == 1);
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof(Wire));
}

void append_text(Bytes& out, std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  out.insert(out.end(), bytes, bytes + text.size());
}

void append_reply(Bytes& out, const Option& option, uint32_t type, size_t length) {
  LATTE_CHECK(length <= UINT32_MAX);
  append(out, OptionReplyHeader{NBD_REP_MAGIC, option.code, type, static_cast<uint32_t>(length)});
}

void append_ack(Bytes& out, const Option& option) { append_reply(out, option, NBD_REP_ACK, 0); }

void append_error(Bytes& out, const Option& option, uint32_t type, std::string_view message) {
  LATTE_CHECK(type >= NBD_REP_ERR_UNSUP && message.size() <= NBD_MAX_STRING);
  append_reply(out, option, type, message.size());
  append_text(out, message);
}

void append_text_info(Bytes& out, const Option& option, uint16_t type, std::string_view text) {
  append_reply(out, option, NBD_REP_INFO, sizeof(Be16) + text.size());
  append(out, Be16(type));
  append_text(out, text);
}

std::string_view text_of(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

}  // namespace

Negotiation::Negotiation(const ExportTable& exports, std::vector<std::byte>& out)
    : exports_(exports) {
  append(out, Greeting{NBDMAGIC, IHAVEOPT,
                       static_cast<uint16_t>(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)});
}

void Negotiation::close(std::string reason) {
  state_ = State::closed;
  reason_ = std::move(reason);
}

void Negotiation::enter_transmission(const Export& chosen) {
  agreed_.allocation_context = context_export_ == &chosen;
  LATTE_CHECK(!agreed_.allocation_context || agreed_.structured_replies);
  selected_ = &chosen;
  state_ = State::transmission;
}

size_t Negotiation::consume(std::span<const std::byte> in, std::vector<std::byte>& out) {
  LATTE_CHECK(state_ == State::client_flags || state_ == State::options);
  if (state_ == State::client_flags) return consume_client_flags(in);
  Option option;
  switch (parse_option(in, option)) {
    case Parse::need_more:
      return 0;
    case Parse::bad:
      close(option.length > kMaxOptionBytes
                ? fmt::format("option {} with {} bytes of data, more than {}", option.code,
                              option.length, kMaxOptionBytes)
                : std::string("bytes that are no NBD option"));
      return in.size();
    case Parse::complete:
      break;
  }
  if (++options_seen_ > kMaxOptions) {
    close(fmt::format("more than {} options", kMaxOptions));
  } else {
    answer(option, out);
  }
  return option.wire_bytes();
}

size_t Negotiation::consume_client_flags(std::span<const std::byte> in) {
  uint32_t flags = 0;
  const Parse parsed = parse_client_flags(in, flags);
  if (parsed == Parse::need_more) return 0;
  if (parsed == Parse::bad) {
    close(fmt::format("unknown client flags {:#x}", flags));
  } else {
    no_zeroes_ = (flags & NBD_FLAG_C_NO_ZEROES) != 0;
    state_ = State::options;
  }
  return sizeof(Be32);
}

void Negotiation::answer(const Option& option, std::vector<std::byte>& out) {
  switch (option.code) {
    case NBD_OPT_EXPORT_NAME:
      return answer_export_name(option, out);
    case NBD_OPT_ABORT:
      append_ack(out, option);
      return close({});
    case NBD_OPT_LIST:
      return answer_list(option, out);
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
      return answer_info(option, out);
    case NBD_OPT_STRUCTURED_REPLY:
      return answer_structured_reply(option, out);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
      return answer_meta_context(option, out);
    case NBD_OPT_STARTTLS:
      return append_error(out, option, NBD_REP_ERR_UNSUP, "this server has no TLS");
    default:
      return append_error(out, option, NBD_REP_ERR_UNSUP, "unknown option");
  }
}

void Negotiation::answer_export_name(const Option& option, std::vector<std::byte>& out) {
  const std::string_view name = text_of(option.data);
  const Export* chosen = valid_string(name) ? exports_.find(name) : nullptr;
  // This option has no way to say no but to hang up.
  if (chosen == nullptr) return close("unknown export name");
  append(out,
         ExportReply{chosen->size_bytes(), chosen->transmission_flags(agreed_.structured_replies)});
  if (!no_zeroes_) out.resize(out.size() + kExportReplyZeroes);
  enter_transmission(*chosen);
}

void Negotiation::answer_list(const Option& option, std::vector<std::byte>& out) {
  if (!option.data.empty())
    return append_error(out, option, NBD_REP_ERR_INVALID, "NBD_OPT_LIST takes no data");
  for (const Export& each : exports_.all()) {
    const size_t length = sizeof(Be32) + each.name().size() + each.description().size();
    append_reply(out, option, NBD_REP_SERVER, length);
    append(out, Be32(static_cast<uint32_t>(each.name().size())));
    append_text(out, each.name());
    append_text(out, each.description());
  }
  append_ack(out, option);
}

void Negotiation::answer_info(const Option& option, std::vector<std::byte>& out) {
  InfoRequest request;
  if (!parse_info_request(option.data, request))
    return append_error(out, option, NBD_REP_ERR_INVALID, "malformed information request");
  const Export* chosen = exports_.find(request.export_name);
  if (chosen == nullptr)
    return append_error(out, option, NBD_REP_ERR_UNKNOWN, "no export of this name here");

  append_reply(out, option, NBD_REP_INFO, sizeof(InfoExport));
  append(out, InfoExport{NBD_INFO_EXPORT, chosen->size_bytes(),
                         chosen->transmission_flags(agreed_.structured_replies)});
  // Always sent: a client that reads it unasked spares itself refused requests.
  append_reply(out, option, NBD_REP_INFO, sizeof(InfoBlockSize));
  append(out, InfoBlockSize{NBD_INFO_BLOCK_SIZE, chosen->minimum_block_bytes(),
                            chosen->preferred_block_bytes(), chosen->maximum_payload_bytes()});
  if (request.wants_name) append_text_info(out, option, NBD_INFO_NAME, chosen->name());
  if (request.wants_description)
    append_text_info(out, option, NBD_INFO_DESCRIPTION, chosen->description());
  append_ack(out, option);
  if (option.code == NBD_OPT_GO) enter_transmission(*chosen);
}

void Negotiation::answer_structured_reply(const Option& option, std::vector<std::byte>& out) {
  if (!option.data.empty())
    return append_error(out, option, NBD_REP_ERR_INVALID, "NBD_OPT_STRUCTURED_REPLY takes no data");
  agreed_.structured_replies = true;
  append_ack(out, option);
}

void Negotiation::answer_meta_context(const Option& option, std::vector<std::byte>& out) {
  const bool set = option.code == NBD_OPT_SET_META_CONTEXT;
  if (set) context_export_ = nullptr;  // replaced even when this fails
  MetaRequest request;
  if (!agreed_.structured_replies)
    return append_error(out, option, NBD_REP_ERR_INVALID, "negotiate structured replies first");
  if (!parse_meta_request(option.data, request))
    return append_error(out, option, NBD_REP_ERR_INVALID, "malformed metadata query");
  const Export* queried = exports_.find(request.export_name);
  if (queried == nullptr)
    return append_error(out, option, NBD_REP_ERR_UNKNOWN, "no export of this name here");

  bool matches = !set && request.query_count == 0;
  std::string_view query;
  while (next_query(request.queries, query))
    matches |= query == kAllocation || (!set && query == kBaseNamespace);
  if (matches) {
    append_reply(out, option, NBD_REP_META_CONTEXT, sizeof(Be32) + kAllocation.size());
    append(out, Be32(set ? kAllocationContextId : 0));
    append_text(out, kAllocation);
    if (set) context_export_ = queried;
  }
  append_ack(out, option);
}

}  // namespace latte::nbd
