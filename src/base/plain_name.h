// What disks, volumes and snapshots may be called: fit for a path, a URI and a command line.
#pragma once

#include <algorithm>
#include <string_view>

namespace latte {

/// Letters, digits, '_', '-' and '.', at least one, not beginning with one of the last two. How
/// long it may be is the caller's to say.
inline bool plain_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.front() != '.' && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), plain);
}

}  // namespace latte
