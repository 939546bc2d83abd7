#include "device/rbd_address.h"

#include <fmt/core.h>

#include <algorithm>

namespace latte {
namespace {

constexpr std::string_view kForm = "write rbd:POOL/IMAGE, or rbd:POOL/IMAGE?conf=PATH&id=USER";

// What RBD itself would take for something else: snapshots, namespaces, the end of the name.
bool plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 90 && std::all_of(name.begin(), name.end(), [](char c) {
    return c > ' ' && c < 0x7f && std::string_view("/@?&=#%\"'").find(c) == std::string_view::npos;
  });
}

Error bad(std::string_view what) {
  return Error{Errc::invalid, fmt::format("is no RBD volume: {}; {}", what, kForm)};
}

Result<void> take_option(RbdAddress& address, std::string_view option) {
  const size_t equals = option.find('=');
  const std::string_view key = option.substr(0, equals);
  if (equals == std::string_view::npos || equals + 1 == option.size())
    return bad(fmt::format("the option \"{}\" has no value", option));
  std::string* to = key == "conf" ? &address.conf : key == "id" ? &address.id : nullptr;
  if (to == nullptr) return bad(fmt::format("there is no option \"{}\"", key));
  if (!to->empty()) return bad(fmt::format("the option \"{}\" is there twice", key));
  *to = option.substr(equals + 1);
  return {};
}

}  // namespace

Result<RbdAddress> RbdAddress::parse(std::string_view text) {
  RbdAddress address;
  const size_t question = text.find('?');
  const std::string_view path = text.substr(0, question);
  const size_t slash = path.find('/');
  if (slash == std::string_view::npos) return bad("it names no pool and image");
  address.pool = path.substr(0, slash);
  address.image = path.substr(slash + 1);
  if (!plain_name(address.pool)) return bad(fmt::format("\"{}\" is no pool's name", address.pool));
  if (!plain_name(address.image))
    return bad(fmt::format("\"{}\" is no image's name", address.image));
  if (question == std::string_view::npos) return address;
  for (std::string_view rest = text.substr(question + 1);;) {
    const size_t end = rest.find('&');
    const Result<void> taken = take_option(address, rest.substr(0, end));
    if (!taken) return taken.error();
    if (end == std::string_view::npos) return address;
    rest.remove_prefix(end + 1);
  }
}

}  // namespace latte
