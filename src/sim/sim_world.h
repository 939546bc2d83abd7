// World: virtual time. One clock, one queue of events and one seeded source of randomness drive any
// number of simulated host processes (SimReactor) and devices; a seed reproduces a run to the last
// event.
//
// Invariants:
//  1. Nothing depends on wall clock, addresses, or hash order; events of one instant run in the
//     order in which they were posted, reactors in the order in which they were made.
//  2. Time moves only when no running reactor has anything to do.
//  3. hash() covers every event and every turn: two runs with one hash did the same.
// Thread rule: a world and all that lives in it belong to one thread.
// Limits: kMaxTurnsAtOneInstant (a livelock), the caller's step limit (a run that never ends).
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/units.h"
#include "runtime/reactor.h"

namespace latte::sim {

class World;

/// A time that never comes.
inline constexpr TimeNs kNever = INT64_MAX;

/// Receives events. An object with events outstanding calls World::forget() before it dies.
class EventTarget {
 public:
  virtual void on_event(uint64_t token) = 0;

 protected:
  ~EventTarget() = default;
};

/// The reactor of one simulated process. Destroy it after everything that was built on it.
class SimReactor final : public Reactor {
 public:
  /// `clock_offset_ns` is what this process's monotonic clock is ahead of the world's: clocks of
  /// different boots don't compare.
  SimReactor(World& world, std::string name, TimeNs clock_offset_ns);
  ~SimReactor() override;

  TimeNs now() const override;
  TimeNs wall_now() const override;
  uint64_t boot_id() const override { return boot_id_; }
  void set_boot_id(uint64_t boot_id) { boot_id_ = boot_id; }
  const std::string& name() const { return name_; }
  /// A paused process runs nothing (SIGSTOP, a frozen VM), while its devices go on.
  void set_paused(bool paused) { paused_ = paused; }
  bool paused() const { return paused_; }

 private:
  friend class World;
  World& world_;
  std::string name_;
  TimeNs clock_offset_ns_;
  bool paused_ = false;
  uint64_t boot_id_ = 1;
};

class World {
 public:
  explicit World(uint64_t seed);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  TimeNs now() const { return now_; }
  Random& random() { return random_; }
  /// Calls `target.on_event(token)` at `at` (not before now).
  void post(TimeNs at, EventTarget& target, uint64_t token);
  /// Drops all events of `target`.
  void forget(EventTarget& target);

  /// Why run_until() came back.
  enum class Stop {
    condition,   ///< done() is true
    time_limit,  ///< the deadline came first
    step_limit,  ///< the world's step budget is used up: the run does not end
    livelock,    ///< reactors run on and on at one instant
  };
  /// Runs until `done()` or until world time `deadline_ns`. `done` is asked after every step.
  Stop run_until(const std::function<bool()>& done, TimeNs deadline_ns);
  /// Runs for `duration_ns`.
  Stop run_for(TimeNs duration_ns);
  /// Runs at most `steps` more steps, or until `done()`; for crashes at any point of something.
  Stop run_steps(uint64_t steps, const std::function<bool()>& done);
  /// Steps (turns and events) the world may take in all.
  void set_step_limit(uint64_t steps) { step_limit_ = steps; }

  uint64_t steps() const { return steps_; }
  /// Digest of everything that has happened.
  uint64_t hash() const { return hash_; }
  void mix(uint64_t value) {
    hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15ull;
    hash_ ^= hash_ >> 29;
  }

  /// Prints one line per traced happening on stdout.
  void set_tracing(bool on) { tracing_ = on; }
  bool tracing() const { return tracing_; }
  template <typename... Args>
  void trace(fmt::format_string<Args...> format, Args&&... args) {
    if (tracing_) print_trace(fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  friend class SimReactor;
  /// A group commit or a retry takes a handful of turns; this many at one instant is a loop.
  static constexpr uint64_t kMaxTurnsAtOneInstant = 100'000;
  static constexpr size_t kHandlesPerTurn = 256;

  struct Event {
    TimeNs time;
    uint64_t order;
    EventTarget* target;
    uint64_t token;
  };
  static bool later(const Event& a, const Event& b) {
    return a.time != b.time ? a.time > b.time : a.order > b.order;
  }
  enum class Step { ran, at_limit, livelock };
  Step step(TimeNs deadline_ns);
  bool run_reactors();
  TimeNs next_time() const;
  void print_trace(const std::string& line) const;

  TimeNs now_ = 0;
  Random random_;
  std::vector<Event> events_;  // heap, earliest first
  uint64_t next_order_ = 0;
  std::vector<SimReactor*> reactors_;
  uint64_t steps_ = 0;
  uint64_t step_limit_ = UINT64_MAX;
  uint64_t turns_at_now_ = 0;
  uint64_t hash_ = 0;
  bool tracing_ = false;
};

}  // namespace latte::sim
