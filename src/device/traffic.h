// Counts of what went to a device.
#pragma once

#include <cstdint>

namespace latte {

/// Requests that went down, repeated attempts included, and how they fared.
struct DeviceTraffic {
  uint64_t reads = 0;
  uint64_t writes = 0;  ///< discards and zeroes included
  uint64_t read_bytes = 0;
  uint64_t write_bytes = 0;
  uint64_t errors = 0;  ///< attempts that failed (they are tried again)
};

}  // namespace latte
