// Negotiation: the server's side of the fixed newstyle handshake, from the greeting to the
// transmission phase or the end. Bytes in, bytes out; whoever owns the connection moves them.
//
// Invariants:
//  1. Every option gets its answer before the next one is looked at.
//  2. In state `transmission` selected() is an export; in every other state it is none.
// Thread rule: one owner. Limits: kMaxOptions options a connection, kMaxOptionBytes each; the
// answer to one option is bounded by the number of exports.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/nbd_export.h"
#include "frontend/nbd_parser.h"

namespace latte::nbd {

/// Options a client may send before it must have chosen. A client asking about every export of a
/// full server needs two each.
inline constexpr uint32_t kMaxOptions = 256;

class Negotiation {
 public:
  enum class State : uint8_t {
    client_flags,  ///< greeting sent
    options,
    transmission,  ///< agreed: what follows are requests
    closed,        ///< the connection is to be closed once the answers are sent; see reason()
  };

  /// Appends the greeting to `out`. `exports` outlives the negotiation.
  Negotiation(const ExportTable& exports, std::vector<std::byte>& out);

  /// Takes at most one message off the front of `in` and appends the answer to `out`. Returns the
  /// bytes taken, 0 if the message is not complete. Only in state client_flags or options.
  size_t consume(std::span<const std::byte> in, std::vector<std::byte>& out);

  State state() const { return state_; }
  /// Why the state is `closed`; empty if the client wanted it so.
  const std::string& reason() const { return reason_; }
  const Export* selected() const { return selected_; }
  const Agreed& agreed() const { return agreed_; }

 private:
  size_t consume_client_flags(std::span<const std::byte> in);
  void answer(const Option& option, std::vector<std::byte>& out);
  void answer_export_name(const Option& option, std::vector<std::byte>& out);
  void answer_list(const Option& option, std::vector<std::byte>& out);
  void answer_info(const Option& option, std::vector<std::byte>& out);
  void answer_structured_reply(const Option& option, std::vector<std::byte>& out);
  void answer_meta_context(const Option& option, std::vector<std::byte>& out);
  void enter_transmission(const Export& chosen);
  void close(std::string reason);

  const ExportTable& exports_;
  State state_ = State::client_flags;
  bool no_zeroes_ = false;
  uint32_t options_seen_ = 0;
  Agreed agreed_;
  const Export* context_export_ = nullptr;  // base:allocation was selected for this one
  const Export* selected_ = nullptr;
  std::string reason_;
};

}  // namespace latte::nbd
