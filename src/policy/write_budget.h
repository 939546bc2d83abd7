// WriteBudget: how much may be written to the drive for the cache's sake, so that reads don't wear
// it out. A hard limit: within any 24 hours no more than `daily_bytes`, restarts included.
//
// A bucket that holds an hour's worth (a 24th) and starts empty; what flows in during a day is the
// rest. So a bucket full at the beginning and a day's flow add up to the budget.
// Thread rule: an object belongs to one thread.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace latte::policy {

class WriteBudget {
 public:
  /// 0: no limit.
  explicit WriteBudget(uint64_t daily_bytes) : daily_bytes_(daily_bytes) {}

  /// Spends `bytes` if they are there at `now_ns` (a monotonic clock).
  bool take(uint64_t bytes, TimeNs now_ns);
  uint64_t daily_bytes() const { return daily_bytes_; }

 private:
  static constexpr uint64_t kBucketShare = 24;

  uint64_t daily_bytes_;
  double level_bytes_ = 0;
  TimeNs filled_ns_ = -1;  // -1: never asked
};

}  // namespace latte::policy
