// Fuzzes the NBD server's parser and its handshake: arbitrary bytes in, in pieces of arbitrary
// size. What must hold: no byte outside the input is read, a message that parses keeps its limits,
// and what the answers say agrees with the state they lead to.
#include <cstddef>
#include <cstdint>

#include "../unit/nbd_harness.h"
#include "base/check.h"
#include "frontend/nbd_export.h"
#include "frontend/nbd_negotiation.h"

namespace latte::nbd::test {
namespace {

void check_pure(std::span<const std::byte> input, const Export& target) {
  Request request;
  if (parse_request(input, request) == Parse::complete) {
    LATTE_CHECK(input.size() >= sizeof(RequestHeader));
    for (const Agreed agreed : {Agreed{false, false}, Agreed{true, false}, Agreed{true, true}}) {
      if (request.type == NBD_CMD_DISC) break;
      if (target.check(request, agreed) != NbdError::none) continue;
      LATTE_CHECK(range_within(request.offset, request.length, target.size_bytes()));
      LATTE_CHECK(request.length % target.minimum_block_bytes() == 0);
      LATTE_CHECK(request.offset % target.minimum_block_bytes() == 0);
    }
  }
  Option option;
  if (parse_option(input, option) == Parse::complete) {
    LATTE_CHECK(option.wire_bytes() <= input.size() && option.length <= kMaxOptionBytes);
  }
  InfoRequest info;
  if (parse_info_request(input, info)) LATTE_CHECK(valid_string(info.export_name));
  MetaRequest meta;
  if (parse_meta_request(input, meta)) {
    std::string_view query;
    uint32_t count = 0;
    while (next_query(meta.queries, query)) {
      LATTE_CHECK(valid_string(query));
      ++count;
    }
    LATTE_CHECK(count == meta.query_count);
  }
}

// The first byte sets the size of the pieces; the rest is what the client sends.
void check_negotiation(std::span<const std::byte> input, const ExportTable& exports) {
  if (input.empty()) return;
  const size_t piece = 1 + static_cast<size_t>(input[0]);
  input = input.subspan(1);
  Bytes out;
  Negotiation negotiation(exports, out);
  Bytes received;
  while (negotiation.state() == Negotiation::State::client_flags ||
         negotiation.state() == Negotiation::State::options) {
    out.clear();
    const size_t used = negotiation.consume(received, out);
    LATTE_CHECK(used <= received.size());
    LATTE_CHECK(out.size() < 3 * NBD_MAX_STRING);
    received.erase(received.begin(), received.begin() + static_cast<ptrdiff_t>(used));
    if (used > 0) continue;
    if (input.empty()) return;
    const auto next = input.first(std::min(piece, input.size()));
    received.insert(received.end(), next.begin(), next.end());
    input = input.subspan(next.size());
  }
  const bool agreed = negotiation.state() == Negotiation::State::transmission;
  LATTE_CHECK(agreed == (negotiation.selected() != nullptr));
}

}  // namespace
}  // namespace latte::nbd::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace latte::nbd;
  using namespace latte::nbd::test;
  static ManualReactor reactor;
  static TestDevice device(reactor, 1u << 20);
  static const ExportTable exports = [] {
    ExportTable table;
    LATTE_CHECK(table.add("disk", "a disk", device).ok());
    return table;
  }();
  const auto input = std::as_bytes(std::span(data, size));
  check_pure(input, exports.all().front());
  check_negotiation(input, exports);
  return 0;
}
