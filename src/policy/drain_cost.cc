#include "policy/drain_cost.h"

#include <algorithm>

#include "base/check.h"

namespace latte {
namespace {

/// Once into the log and once into the base.
constexpr double kTimes = 2;

}  // namespace

DrainCost::DrainCost(uint64_t piece_bytes, uint64_t memory_bytes)
    : memory_bytes_(static_cast<double>(memory_bytes)) {
  LATTE_CHECK(piece_bytes > 0 && memory_bytes > 0);
  // As much of this guess as of a piece: what is measured soon outweighs it.
  data_ = static_cast<double>(piece_bytes);
  sum_ = Cost{kTimes, kTimes * data_};
}

void DrainCost::on_shipped(uint64_t data_bytes, Cost total) {
  LATTE_CHECK(total.operations >= last_.operations && total.bytes >= last_.bytes);
  const auto added = static_cast<double>(data_bytes);
  const double kept = memory_bytes_ / (memory_bytes_ + added);
  sum_.operations = sum_.operations * kept + total.operations - last_.operations;
  sum_.bytes = sum_.bytes * kept + total.bytes - last_.bytes;
  data_ = data_ * kept + added;
  last_ = total;
}

DrainCost::Cost DrainCost::of(uint64_t data_bytes) const {
  const double share = static_cast<double>(data_bytes) / data_;
  return Cost{sum_.operations * share, sum_.bytes * share};
}

}  // namespace latte
