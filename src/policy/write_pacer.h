// WritePacer: slows writers so that what is not yet in the cloud never grows older than max_lag,
// and the pool never runs full at a stroke. Pure: numbers in, a delay out.
//
// The rule. With D bytes waiting and a drain of R bytes a second, what is written now will be D / R
// seconds old when it reaches the cloud. Up to `kFree` of the limit writers are not slowed. Beyond
// it they are paced at R * (1 + kGain * (kTarget - x)), x being D / R over max_lag: faster than the
// drain below the target, slower above, so the backlog settles at the target and every writer waits
// alike. The free part is small on purpose: a large one would let a burst run unslowed and then
// brake hard, which its last writers see as a stall.
//
// R is how fast the cloud's log takes bytes while it has room; what exceeds the room must wait for
// the base to take as much. So a log that fills up slows writers step by step, before it is full.
// Records and tables take room as well: how much data a segment holds is measured, too.
//
// The same rule with the pool's room instead of the lag keeps a full pool from being a wall.
//
// Thread rule: one reactor.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace latte {

class WritePacer {
 public:
  /// `max_lag_ns`: INT64_MAX for no bound.
  explicit WritePacer(TimeNs max_lag_ns) : max_lag_ns_(max_lag_ns) {}

  /// `bytes` reached the cloud in `busy_ns`, while more were waiting. `alone`: nothing was, and it
  /// only says that the cloud is at least as fast.
  void on_drained(uint64_t bytes, TimeNs busy_ns, bool alone = false);
  /// Has a batch told how fast the cloud takes data?
  bool measured() const { return drain_rate_ > 0; }
  /// A segment of the cloud's log went to the base in `busy_ns`: `bytes` of clients' data in
  /// `segment_bytes` of the log, which are free again.
  void on_applied(uint64_t bytes, uint64_t segment_bytes, TimeNs busy_ns);

  struct State {
    uint64_t dirty_bytes = 0;              ///< waiting for the cloud
    TimeNs oldest_age_ns = 0;              ///< of the oldest of them
    uint64_t room_bytes = 0;               ///< dirty bytes the pool could hold for this disk in all
    uint64_t log_free_bytes = UINT64_MAX;  ///< free segments of the cloud's log
    bool drain_away = false;  ///< nothing reaches the cloud now: the lag can't be bounded
    /// What the cloud's own limits alone will take for `dirty_bytes`, credits for bursts counted:
    /// what was measured while there were some does not hold when they are spent.
    TimeNs limited_drain_ns = 0;
  };
  /// When a write of `bytes` that arrives at `now_ns` may start; `now_ns` if at once.
  TimeNs admit(TimeNs now_ns, uint64_t bytes, const State& state);

  /// Bytes a second that reach the cloud, as measured.
  double drain_rate() const { return drain_rate_; }

 private:
  static constexpr double kUnmeasuredFill = 0.5;

  double allowed_rate(const State& state) const;
  double seconds_to_drain(const State& state) const;

  TimeNs max_lag_ns_;
  double drain_rate_ = 0;              // bytes/s; 0 = not measured yet
  double apply_rate_ = 0;              // likewise
  double log_fill_ = kUnmeasuredFill;  // share of a segment of the cloud's log that is data
  TimeNs next_start_ns_ = 0;
};

}  // namespace latte
