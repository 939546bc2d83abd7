#include "base/uuid.h"

#include <cstring>

namespace latte {

std::string Uuid::to_string() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
    text.push_back(kDigits[bytes[i] >> 4]);
    text.push_back(kDigits[bytes[i] & 15]);
  }
  return text;
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
  Uuid id;
  size_t digits = 0;
  for (const char c : text) {
    const bool number = c >= '0' && c <= '9';
    const bool letter = c >= 'a' && c <= 'f';
    if (c == '-') continue;
    if ((!number && !letter) || digits == 2 * id.bytes.size()) return std::nullopt;
    uint8_t& byte = id.bytes[digits++ / 2];
    byte = static_cast<uint8_t>(byte << 4 | (number ? c - '0' : c - 'a' + 10));
  }
  // The hyphens, too, stand where they belong.
  return id.to_string() == text ? std::optional(id) : std::nullopt;
}

Uuid Uuid::from_random(uint64_t high, uint64_t low) {
  Uuid id;
  std::memcpy(id.bytes.data(), &high, 8);
  std::memcpy(id.bytes.data() + 8, &low, 8);
  id.bytes[6] = static_cast<uint8_t>((id.bytes[6] & 0x0f) | 0x40);
  id.bytes[8] = static_cast<uint8_t>((id.bytes[8] & 0x3f) | 0x80);
  return id;
}

}  // namespace latte
