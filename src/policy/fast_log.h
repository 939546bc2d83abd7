// Logarithms for features: a bit pattern and a parabola, off by less than 0.01, in about a
// nanosecond.
#pragma once

#include <bit>
#include <cstdint>

namespace latte {

/// log2 of a positive, normal float.
inline float fast_log2(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto exponent = static_cast<float>(static_cast<int32_t>(bits >> 23) - 127);
  const float mantissa = std::bit_cast<float>((bits & 0x7fffffu) | 0x3f800000u);
  return exponent + (-0.344845f * mantissa + 2.024658f) * mantissa - 1.674873f;
}

}  // namespace latte
