#include "model/noise.h"

#include <cmath>

namespace latte::model {
namespace {

constexpr size_t kQuantiles = 4096;

/// The normal distribution's quantile, by bisection of its distribution function; once at start.
double quantile(double probability) {
  double low = -10;
  double high = 10;
  for (int step = 0; step < 60; ++step) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < probability ? low : high) = middle;
  }
  return (low + high) / 2;
}

std::array<double, kQuantiles> make_quantiles() {
  std::array<double, kQuantiles> table{};
  for (size_t i = 0; i < kQuantiles; ++i)
    table[i] = quantile((static_cast<double>(i) + 0.5) / static_cast<double>(kQuantiles));
  return table;
}

}  // namespace

double Noise::normal_quantile(uint64_t index) {
  static const std::array<double, kQuantiles> table = make_quantiles();
  return table[index % kQuantiles];
}

}  // namespace latte::model
