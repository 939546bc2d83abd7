// Whether bytes are zero, all of them: what was never written, or holds nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

namespace latte {

inline bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace latte
