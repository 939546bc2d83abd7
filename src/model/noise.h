// Noise: random numbers by position instead of by sequence. The n-th draw of a stream is a function
// of (seed, n), so a look ahead (DeviceModel::peek) and the real thing draw the same.
#pragma once

#include <array>
#include <cstdint>

namespace latte::model {

class Noise {
 public:
  explicit Noise(uint64_t seed) : seed_(seed * 0x9e3779b97f4a7c15ull + 0x2545f4914f6cdd1dull) {}

  /// 64 well mixed bits (splitmix64's finalizer).
  uint64_t bits(uint64_t position) const {
    uint64_t z = seed_ + position * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, 1).
  double uniform(uint64_t position) const {
    return static_cast<double>(bits(position) >> 11) * 0x1.0p-53;
  }
  /// Standard normal, from a table of 4,096 quantiles (within +-3.7).
  double normal(uint64_t position) const { return normal_quantile(bits(position) >> 52); }

 private:
  static double normal_quantile(uint64_t index);
  uint64_t seed_;
};

}  // namespace latte::model
