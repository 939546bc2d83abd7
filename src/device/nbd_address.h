// NbdAddress: where an NBD cloud volume is, parsed from its URI:
//
//   nbd+unix:///BASE?socket=PATH&log=LOG      nbd://HOST[:PORT]/BASE?log=LOG
//   nbds+unix:///...  nbds://...              the same with TLS
//
// BASE and LOG name two exports of one server. Options: connections=N, lease=DURATION,
// tls-certificates=DIR, tls-psk-file=FILE, tls-username=NAME. %XX stands for a byte.
//
// Thread rule: none; a plain value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/units.h"

namespace latte {

struct NbdAddress {
  static constexpr uint32_t kMaxConnections = 16;
  static constexpr uint16_t kDefaultPort = 10809;

  std::string socket;  ///< of a unix socket; empty: TCP
  std::string host;
  uint16_t port = kDefaultPort;
  bool tls = false;
  std::string tls_certificates;  ///< directory; empty: libnbd's search path
  std::string tls_psk_file;
  std::string tls_username;
  std::string base_export;   ///< may be empty: the server's default export
  std::string log_export;    ///< another than base_export
  uint32_t connections = 4;  ///< to each export, where the server allows several
  TimeNs lease_ns = 4 * kSecond;

  /// True if `text` looks like one: its scheme is of the family.
  static bool matches(std::string_view text);
  /// Errors: invalid; the message says what is allowed.
  static Result<NbdAddress> parse(std::string_view text);
  /// The server and one of its exports, for messages.
  std::string describe(std::string_view export_name) const;
  /// Both exports, as short as they identify the volume.
  std::string to_string() const;
};

}  // namespace latte
