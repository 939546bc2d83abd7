#include "control/cloud_address.h"

namespace latte {

std::string CloudAddress::to_string() const {
  switch (kind) {
    case CloudKind::file:
      return "file:" + directory;
    case CloudKind::rbd:
      return rbd.to_string();
    case CloudKind::nbd:
      return nbd.to_string();
    case CloudKind::none:
      break;
  }
  return "";
}

std::string CloudAddress::place() const {
  if (kind == CloudKind::file) return "path " + directory;
  if (kind == CloudKind::nbd) return nbd.to_string();
  // Two clusters may have images of one name.
  return rbd.conf.empty() ? to_string() : to_string() + " of " + rbd.conf;
}

Result<CloudAddress> CloudAddress::parse(
    std::string_view text, const std::function<std::string(const std::string&)>& resolve) {
  constexpr std::string_view kFile = "file:";
  constexpr std::string_view kRbd = "rbd:";
  CloudAddress address;
  if (NbdAddress::matches(text)) {
    auto nbd = NbdAddress::parse(text);
    if (!nbd) return nbd.error();
    address.kind = CloudKind::nbd;
    address.nbd = nbd.take();
    for (std::string* path :
         {&address.nbd.socket, &address.nbd.tls_certificates, &address.nbd.tls_psk_file})
      if (!path->empty()) *path = resolve(*path);
    return address;
  }
  if (text.starts_with(kRbd)) {
    auto rbd = RbdAddress::parse(text.substr(kRbd.size()));
    if (!rbd) return rbd.error();
    address.kind = CloudKind::rbd;
    address.rbd = rbd.take();
    if (!address.rbd.conf.empty()) address.rbd.conf = resolve(address.rbd.conf);
    return address;
  }
  if (!text.starts_with(kFile) || text.size() == kFile.size())
    return Error{Errc::invalid,
                 "is no cloud volume; write file:DIRECTORY, rbd:POOL/IMAGE or "
                 "nbd+unix:///EXPORT?socket=PATH&log=EXPORT"};
  address.kind = CloudKind::file;
  address.directory = resolve(std::string(text.substr(kFile.size())));
  return address;
}

}  // namespace latte
