// What a cloud sells of a volume: operations and bytes a second, and credits for bursts above
// them. Rules of some vendors: docs/operating/cloud-cost.md.
//
// Thread rule: none; plain values.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace latte {

/// One limit. Without credits a little is saved all the same: kLimitSlackNs's worth.
struct RateLimit {
  uint64_t per_second = 0;        ///< sold all the time; 0 = no limit
  uint64_t burst_per_second = 0;  ///< while saved credits last; 0 = no credits
  uint64_t burst_credits = 0;     ///< what can be saved, in the limit's unit
};

/// What an idle limit saves up without credits, so that a late timer costs no rate.
inline constexpr TimeNs kLimitSlackNs = 50 * kMillisecond;

struct CloudLimits {
  RateLimit operations;
  RateLimit bytes;                       ///< of reads and writes together
  uint64_t operation_bytes = 256 << 10;  ///< a request counts as one operation for each begun part

  bool any() const { return operations.per_second != 0 || bytes.per_second != 0; }
  /// What a request of `length` bytes counts as.
  uint64_t operations_of(uint64_t length) const {
    return length <= operation_bytes ? 1 : (length - 1) / operation_bytes + 1;
  }
};

}  // namespace latte
