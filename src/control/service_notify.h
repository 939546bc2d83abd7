// Tells the service manager, if there is one, what the server does: systemd's protocol, one
// datagram to the socket that NOTIFY_SOCKET names (Type=notify).
//
// Thread rule: any thread; does not block for longer than a datagram takes.
#pragma once

#include <string_view>

#include "base/result.h"

namespace latte {

inline constexpr std::string_view kServiceReady = "READY=1";
inline constexpr std::string_view kServiceStopping = "STOPPING=1";

/// Sends `state`; does nothing if NOTIFY_SOCKET is not set. Errors: invalid (the variable is no
/// address), io.
Result<void> notify_service(std::string_view state);

}  // namespace latte
