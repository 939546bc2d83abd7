// IdlePolicy: what a reactor without work does: poll, or sleep in the kernel. Pure: times in, a
// decision out.
//
// Sleeping costs the latency of a wake-up, 10 us and more where the core halts; polling costs the
// core. Polling pays while work returns soon: it is done while most of the latest pauses were
// shorter than kPollNs, and no longer than that. A thread that polls is also the one that the
// scheduler takes the core from when others want it, and then it does worse than one that sleeps: a
// gap in its own polling shows that, and it does not poll for kRestFactor times as long: a tick's
// worth of another thread ends polling for a while, an interrupt does not.
//
// Thread rule: one reactor's.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace latte {

/// When a server looks for work without being woken.
enum class Polling : uint8_t {
  never,
  adaptive,  ///< while work comes close together
  always,    ///< costs a core
};

class IdlePolicy {
 public:
  /// Longest pause that is worth polling through: a request to a fast drive, or a client's turn.
  static constexpr TimeNs kPollNs = 100 * kMicrosecond;
  /// Time between two looks that only a thread sees which did not have its core.
  static constexpr TimeNs kLostCoreNs = 50 * kMicrosecond;
  static constexpr TimeNs kRestFactor = 8;

  explicit IdlePolicy(Polling polling) : polling_(polling) {}

  /// The reactor has just run out of work, at `now_ns`.
  void begin_pause(TimeNs now_ns);
  /// Still without work: poll on? Else sleep.
  bool poll_on(TimeNs now_ns);
  /// There is work again.
  void end_pause(TimeNs now_ns);

  /// Would a pause that begins now be polled? Then what is ready for the kernel goes to it before.
  bool polls() const { return polls_; }

 private:
  /// Weight of the latest pause: 1 / kMemory.
  static constexpr int32_t kMemory = 8;
  static constexpr int32_t kAll = 1 << 10;

  bool wanted(TimeNs now_ns) const;

  const Polling polling_;
  bool polls_ = false;
  int32_t short_share_ = 0;  // of kAll
  TimeNs pause_ns_ = 0;      // when the present pause began
  TimeNs looked_ns_ = 0;
  TimeNs rest_until_ns_ = 0;
};

}  // namespace latte
