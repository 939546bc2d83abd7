// DrainCost: what taking a byte of clients' data to the cloud costs there, in operations and bytes
// as the cloud counts them: records and tables in the log, and later the same data into the base.
// Measured, since it depends on how clients write: a base takes scattered blocks one operation
// each.
//
// Pure: numbers in, a ratio out. Thread rule: one reactor.
#pragma once

#include <cstdint>

namespace latte {

class DrainCost {
 public:
  struct Cost {
    double operations = 0;
    double bytes = 0;
  };
  /// Until something was measured, data is taken to go in pieces of `piece_bytes`, twice. What was
  /// measured counts for less and less after `memory_bytes` of data.
  DrainCost(uint64_t piece_bytes, uint64_t memory_bytes);

  /// `data_bytes` of clients' data are in the cloud log; all that was asked of the cloud up to now,
  /// but for what clients waited for, is `total`.
  void on_shipped(uint64_t data_bytes, Cost total);
  /// What `data_bytes` more will cost.
  Cost of(uint64_t data_bytes) const;

 private:
  const double memory_bytes_;
  Cost last_;        // of on_shipped()
  Cost sum_;         // of what counts
  double data_ = 0;  // likewise, clients' bytes
};

}  // namespace latte
