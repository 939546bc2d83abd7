// IdlePolicy: what a reactor without work does: poll, or sleep in the kernel. Pure: times in, a
// decision out.
//
// Sleeping costs the latency of a wake-up, 10 us and more where the core halts; polling costs the
// core. Polling pays while work comes close together: it is done while there are less than kGapNs
// of pause for each event (a completion, a message), and for at most kPollNs a pause. Not the pause
// itself is judged: a server that sleeps finds more events at once and then a longer pause, client
// and server in step, and would take its own sleep for a reason to sleep. A thread that polls is
// also the one that the scheduler takes the core from when others want it, and then it does worse
// than one that sleeps: a gap in its own polling shows that, and it does not poll for kRestFactor
// times as long: a tick's worth of another thread ends polling for a while, an interrupt does not.
//
// Thread rule: one reactor's.
#pragma once

#include <cstddef>
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
  /// Pause for each event below which polling pays.
  static constexpr TimeNs kGapNs = 100 * kMicrosecond;
  /// Longest time to poll for.
  static constexpr TimeNs kPollNs = 500 * kMicrosecond;
  /// A pause that is polled through for longer lets others have the core between two looks.
  static constexpr TimeNs kYieldNs = 20 * kMicrosecond;
  /// Time between two looks that only a thread sees which did not have its core.
  static constexpr TimeNs kLostCoreNs = 50 * kMicrosecond;
  static constexpr TimeNs kRestFactor = 8;

  explicit IdlePolicy(Polling polling) : polling_(polling) {}

  /// The reactor has just run out of work, at `now_ns`.
  void begin_pause(TimeNs now_ns);
  /// Still without work: poll on? Else sleep.
  bool poll_on(TimeNs now_ns);
  /// Polling on: shall the scheduler run somebody else first, if there is one?
  bool yields(TimeNs now_ns) const {
    return polling_ != Polling::always && now_ns - pause_ns_ > kYieldNs;
  }
  /// There is work again: so many events.
  void end_pause(TimeNs now_ns, size_t events);

  /// Would a pause that begins now be polled? Then what is ready for the kernel goes to it before.
  bool polls() const { return polls_; }

 private:
  /// Weight of the latest pause: 1 / kMemory.
  static constexpr int64_t kMemory = 8;
  /// No more events count in one pause: many at once do not make the next ones come.
  static constexpr size_t kMaxEvents = 32;
  static constexpr int64_t kScale = 1 << 10;

  bool wanted(TimeNs now_ns) const;

  const Polling polling_;
  bool polls_ = false;
  TimeNs mean_pause_ns_ = kPollNs;
  int64_t mean_events_ = 0;  // times kScale
  TimeNs pause_ns_ = 0;      // when the present pause began
  TimeNs looked_ns_ = 0;
  TimeNs rest_until_ns_ = 0;
};

}  // namespace latte
