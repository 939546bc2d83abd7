// A shared server as one number, the time at which it will have done what it was given.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/units.h"

namespace latte::model {

/// `rate` in bytes a second.
inline TimeNs transfer_ns(uint64_t bytes, double rate) {
  return static_cast<TimeNs>(static_cast<double>(bytes) / rate * 1e9);
}

/// Work of `cost_ns` that arrives at `now_ns` is through at the result.
inline TimeNs through(TimeNs& free_ns, TimeNs now_ns, TimeNs cost_ns) {
  free_ns = std::max(free_ns, now_ns) + cost_ns;
  return free_ns;
}

}  // namespace latte::model
