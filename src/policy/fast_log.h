// Logarithms for features: a bit pattern and a parabola, off by less than 0.01,
// in about a nanosecond.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace latte {

/// log2 of a positive, normal float.
inline float fast_log2(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto exponent = static_cast<float>(static_cast<int32_t>(bits >> 23) - 127);
  const float mantissa = std::bit_cast<float>((bits & 0x7fffffu) | 0x3f800000u);
  return exponent + (-0.344845f * mantissa + 2.024658f) * mantissa - 1.674873f;
}

/// Four floats at a time, aligned or not.
using FourFloats = float __attribute__((vector_size(16), aligned(4), may_alias));

/// log2 of `values` in place; `count` is a multiple of 4.
inline void fast_log2(float* values, size_t count) {
  using FourInts = int32_t __attribute__((vector_size(16)));
  using FourAligned = float __attribute__((vector_size(16)));
  for (size_t i = 0; i < count; i += 4) {
    auto& four = *reinterpret_cast<FourFloats*>(values + i);
    const auto bits = reinterpret_cast<FourInts>(FourAligned(four));
    const auto exponent = __builtin_convertvector((bits >> 23) - 127, FourAligned);
    const auto mantissa = reinterpret_cast<FourAligned>((bits & 0x7fffff) | 0x3f800000);
    four = exponent + (-0.344845f * mantissa + 2.024658f) * mantissa - 1.674873f;
  }
}

}  // namespace latte
