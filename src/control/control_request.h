// A request on the control socket, read from one line of JSON.
//
// Thread rule: none; a pure function. Limits: the line's, kMaxLineBytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace latte {

struct ControlRequest {
  enum class Command : uint8_t { status, drain };
  Command command = Command::status;
  std::string disk;  ///< drain's; never empty then
};

/// Errors: invalid, with a message for the client.
Result<ControlRequest> parse_control_request(std::string_view line);

}  // namespace latte
