// The `cloud` key of a disk: which kind of cloud volume, and where.
//
// Thread rule: none; a plain value.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "device/nbd_address.h"
#include "device/rbd_address.h"

namespace latte {

enum class CloudKind : uint8_t { none, file, rbd, nbd };

struct CloudAddress {
  CloudKind kind = CloudKind::none;  ///< none: a local disk's
  std::string directory{};           ///< file: absolute
  RbdAddress rbd{};                  ///< rbd: `conf` is absolute
  NbdAddress nbd{};                  ///< nbd: all paths are absolute

  /// As a configuration writes it, options apart.
  std::string to_string() const;
  /// What two disks may not have in common.
  std::string place() const;
  /// `resolve` makes a path of the configuration absolute. Errors: invalid, unsupported (a kind
  /// that is not there yet); the message goes on after `cloud = ...`.
  static Result<CloudAddress> parse(std::string_view text,
                                    const std::function<std::string(const std::string&)>& resolve);
};

}  // namespace latte
