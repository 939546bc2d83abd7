// 128-bit identities of pools, disks and logs.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace latte {

/// An identity, 16 opaque bytes. All zero = none.
struct Uuid {
  std::array<uint8_t, 16> bytes{};

  friend auto operator<=>(const Uuid&, const Uuid&) = default;
  bool is_nil() const { return *this == Uuid{}; }
  /// 8-4-4-4-12 hexadecimal digits.
  std::string to_string() const;
  /// What to_string() made; none for other text.
  static std::optional<Uuid> parse(std::string_view text);
  /// Version 4 layout from 128 random bits (the caller owns the randomness: simulated or real).
  static Uuid from_random(uint64_t high, uint64_t low);
};

}  // namespace latte
