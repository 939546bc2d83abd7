#include "device/nbd_address.h"

#include <fmt/core.h>

#include <charconv>
#include <optional>

#include "device/lease_format.h"

namespace latte {
namespace {

constexpr size_t kMaxExportNameBytes = 4096;  // the protocol's
constexpr size_t kMaxSocketPathBytes = 107;   // the kernel's

Error refuse(std::string what) { return Error{Errc::invalid, std::move(what)}; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::optional<uint64_t> whole_number(std::string_view text, uint64_t most) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most) return std::nullopt;
  return value;
}

/// "500ms" or "4s".
std::optional<TimeNs> duration(std::string_view text) {
  TimeNs unit = kSecond;
  if (text.ends_with("ms")) unit = kMillisecond;
  const size_t suffix = unit == kSecond ? 1 : 2;
  if (!text.ends_with("s") || text.size() <= suffix) return std::nullopt;
  const auto value = whole_number(text.substr(0, text.size() - suffix), 1'000'000);
  if (!value) return std::nullopt;
  return static_cast<TimeNs>(*value) * unit;
}

Result<void> set_option(NbdAddress& address, std::string_view key, const std::string& value) {
  if (value.empty()) return refuse(fmt::format("has no value for {}=", key));
  if (key == "socket") {
    address.socket = value;
  } else if (key == "log") {
    address.log_export = value;
  } else if (key == "tls-certificates") {
    address.tls_certificates = value;
  } else if (key == "tls-psk-file") {
    address.tls_psk_file = value;
  } else if (key == "tls-username") {
    address.tls_username = value;
  } else if (key == "connections") {
    const auto count = whole_number(value, NbdAddress::kMaxConnections);
    if (!count || *count == 0)
      return refuse(
          fmt::format("has connections={}; write 1 to {}", value, NbdAddress::kMaxConnections));
    address.connections = static_cast<uint32_t>(*count);
  } else if (key == "lease") {
    const auto time = duration(value);
    if (!time || *time < kMinLeaseNs || *time > kMaxLeaseNs)
      return refuse(fmt::format("has lease={}; write {}ms to {}s", value,
                                kMinLeaseNs / kMillisecond, kMaxLeaseNs / kSecond));
    address.lease_ns = *time;
  } else {
    return refuse(
        fmt::format("has an option {}=; known are socket, log, connections, lease, "
                    "tls-certificates, tls-psk-file and tls-username",
                    key));
  }
  return {};
}

Result<void> read_options(NbdAddress& address, std::string_view query) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view item = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos)
      return refuse(fmt::format("has '{}' where KEY=VALUE is expected", item));
    const auto value = decode(item.substr(equals + 1));
    if (!value) return refuse(fmt::format("has a bad %XX in '{}'", item));
    const Result<void> set = set_option(address, item.substr(0, equals), *value);
    if (!set) return set;
  }
  return {};
}

Result<void> read_authority(NbdAddress& address, std::string_view authority, bool over_unix) {
  if (over_unix)
    return authority.empty() ? Result<void>()
                             : refuse("names a host; a unix socket is given by ?socket=PATH");
  std::string_view port;
  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return refuse("has a '[' without ']'");
    address.host = authority.substr(1, close - 1);
    authority.remove_prefix(close + 1);
    if (!authority.empty() && !authority.starts_with(':'))
      return refuse("has something behind ']' that is no :PORT");
    port = authority.empty() ? authority : authority.substr(1);
  } else {
    const size_t colon = authority.find(':');
    address.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) port = authority.substr(colon + 1);
  }
  if (address.host.empty()) return refuse("names no host; write nbd://HOST/EXPORT?log=EXPORT");
  if (port.empty()) return {};
  const auto number = whole_number(port, UINT16_MAX);
  if (!number || *number == 0) return refuse(fmt::format("has port '{}'; write 1 to 65535", port));
  address.port = static_cast<uint16_t>(*number);
  return {};
}

Result<void> check_together(const NbdAddress& address, bool over_unix) {
  if (over_unix && address.socket.empty()) return refuse("has no ?socket=PATH");
  if (!over_unix && !address.socket.empty())
    return refuse("has a socket; write nbd+unix:///EXPORT?socket=PATH&log=EXPORT");
  if (address.socket.size() > kMaxSocketPathBytes)
    return refuse(fmt::format("has a socket path of {} bytes; at most {} are possible",
                              address.socket.size(), kMaxSocketPathBytes));
  if (address.log_export.empty())
    return refuse("has no log=EXPORT: base and cloud log are two exports of the server");
  if (address.log_export == address.base_export)
    return refuse("names one export as base and as log; they are two");
  if (std::max(address.log_export.size(), address.base_export.size()) > kMaxExportNameBytes)
    return refuse(fmt::format("has an export name above {} bytes", kMaxExportNameBytes));
  const bool tls_options = !address.tls_certificates.empty() || !address.tls_psk_file.empty() ||
                           !address.tls_username.empty();
  if (tls_options && !address.tls)
    return refuse("has TLS options without TLS; write nbds: or nbds+unix:");
  return {};
}

}  // namespace

bool NbdAddress::matches(std::string_view text) {
  return text.starts_with("nbd:") || text.starts_with("nbds:") || text.starts_with("nbd+unix:") ||
         text.starts_with("nbds+unix:");
}

Result<NbdAddress> NbdAddress::parse(std::string_view text) {
  NbdAddress address;
  const size_t colon = text.find(':');
  if (!matches(text) || text.substr(colon).substr(0, 3) != "://")
    return refuse(
        "is no NBD address; write nbd+unix:///EXPORT?socket=PATH&log=EXPORT or "
        "nbd://HOST/EXPORT?log=EXPORT (nbds for TLS)");
  const std::string_view scheme = text.substr(0, colon);
  address.tls = scheme.starts_with("nbds");
  const bool over_unix = scheme.ends_with("+unix");
  text.remove_prefix(colon + 3);
  const size_t question = std::min(text.find('?'), text.size());
  std::string_view query = text.substr(question);
  if (!query.empty()) query.remove_prefix(1);
  text = text.substr(0, question);
  const size_t slash = std::min(text.find('/'), text.size());
  Result<void> read = read_authority(address, text.substr(0, slash), over_unix);
  if (!read) return read.error();
  const auto name = decode(text.substr(std::min(slash + 1, text.size())));
  if (!name) return refuse("has a bad %XX in its export's name");
  address.base_export = *name;
  read = read_options(address, query);
  if (!read) return read.error();
  read = check_together(address, over_unix);
  if (!read) return read.error();
  return address;
}

std::string NbdAddress::describe(std::string_view export_name) const {
  const char* scheme = tls ? "nbds" : "nbd";
  if (!socket.empty()) return fmt::format("{}+unix:{} export '{}'", scheme, socket, export_name);
  return fmt::format("{}://{}:{} export '{}'", scheme, host, port, export_name);
}

std::string NbdAddress::to_string() const {
  const char* scheme = tls ? "nbds" : "nbd";
  if (!socket.empty())
    return fmt::format("{}+unix:///{}?socket={}&log={}", scheme, base_export, socket, log_export);
  return fmt::format("{}://{}:{}/{}?log={}", scheme, host, port, base_export, log_export);
}

}  // namespace latte
