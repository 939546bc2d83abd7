// The address of an RBD cloud volume, as a configuration names it: POOL/IMAGE[?conf=PATH&id=USER].
//
// Thread rule: none; a plain value.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace latte {

struct RbdAddress {
  std::string pool{};
  std::string image{};  ///< the base image; the cloud log is the image log_image()
  std::string conf{};   ///< Ceph's configuration file; empty: as Ceph's own tools look for it
  std::string id{};     ///< Ceph user, without "client."; empty: admin

  std::string log_image() const { return image + ".log"; }
  /// "rbd:POOL/IMAGE", for logs and errors.
  std::string to_string() const { return "rbd:" + pool + "/" + image; }

  /// Parses what follows "rbd:". Errors: invalid.
  static Result<RbdAddress> parse(std::string_view text);
};

}  // namespace latte
