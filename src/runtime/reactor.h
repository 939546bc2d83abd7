// Reactor: runs coroutines on one thread, with timers, a clock and end-of-turn hooks. The common
// half of the real reactor (uring_reactor.h) and the one in virtual time (sim/sim_reactor.h).
//
// A turn: resume everything that is ready, then run the turn hooks (group commit gathers there),
// then let the driver submit and collect I/O.
//
// Invariants:
//  1. Nothing is resumed from inside another coroutine's stack except by symmetric transfer:
//     wake-ups go through the ready queue, in order.
//  2. Root tasks belong to the reactor; destroy_tasks() ends them wherever they are suspended.
// Thread rule: every function is for the reactor's own thread.
// Limits: none on ready entries by count; each suspended coroutine is in the queue at most once.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/intrusive_list.h"
#include "base/random.h"
#include "base/units.h"
#include "runtime/task.h"

namespace latte {

class Reactor;

/// A timer embedded in its owner. Destroying it cancels it.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer();

  bool armed() const { return reactor_ != nullptr; }
  void cancel();

 private:
  friend class Reactor;
  Reactor* reactor_ = nullptr;
  TimeNs deadline_ns_ = 0;
  uint64_t order_ = 0;
  size_t heap_index_ = 0;
  std::coroutine_handle<> waiter_;
};

/// Called once at the end of the turn in which it was armed.
class TurnHook : public ListNode {
 public:
  virtual void at_turn_end() = 0;

 protected:
  ~TurnHook() = default;
};

/// FIFO of coroutine handles in a ring that only grows.
class ReadyQueue {
 public:
  bool empty() const { return head_ == tail_; }
  size_t size() const { return tail_ - head_; }
  void push(std::coroutine_handle<> handle);
  std::coroutine_handle<> pop();
  void clear() { head_ = tail_ = 0; }

 private:
  std::vector<std::coroutine_handle<>> ring_ = std::vector<std::coroutine_handle<>>(1024);
  size_t head_ = 0;
  size_t tail_ = 0;
};

class Reactor {
 public:
  explicit Reactor(uint64_t random_seed) : random_(random_seed) {}
  virtual ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// Monotonic time in ns; constant within a resume in virtual time.
  virtual TimeNs now() const = 0;
  /// now() as it was when it was first asked for in this turn: for policies, at a fraction of its
  /// price. Never for deadlines: a turn may be long.
  virtual TimeNs turn_time() { return now(); }
  /// How long turns take lately while there is no pause between them; 0 where they take no time. So
  /// much of any latency may be the reactor's own.
  virtual TimeNs turn_length() { return 0; }
  /// Wall clock in ns since 1970, for timestamps that outlive the process.
  virtual TimeNs wall_now() const = 0;

  /// Identity of the machine's present power session: what was written under the same one may have
  /// been torn by the death of a process, but not by a loss of power. 0 = unknown.
  virtual uint64_t boot_id() const = 0;

  /// Resumes `handle` in this turn or the next, after everything scheduled before it.
  void schedule(std::coroutine_handle<> handle) { ready_.push(handle); }
  /// Starts `task` as a root task; it is destroyed when it ends, or by destroy_tasks().
  void spawn(Task<void> task);
  /// Ends all root tasks where they are suspended. Devices must have dropped their requests before.
  void destroy_tasks();
  /// Root tasks not yet ended.
  size_t task_count() const { return task_count_; }
  /// Runs `hook.at_turn_end()` once when the ready queue has been drained; arming twice is a no-op.
  void arm(TurnHook& hook) {
    if (!hook.linked()) hooks_.push_back(hook);
  }
  Random& random() { return random_; }

  /// `co_await reactor.sleep(ns)`: resumes no earlier than `ns` from now.
  auto sleep(TimeNs duration_ns) { return SleepAwaiter{*this, now() + duration_ns, {}}; }
  auto sleep_until(TimeNs deadline_ns) { return SleepAwaiter{*this, deadline_ns, {}}; }
  /// `co_await reactor.yield()`: lets everything else that is ready run first.
  auto yield() { return YieldAwaiter{*this}; }
  /// Arms `timer` to schedule `waiter` at `deadline_ns`. The timer must not be armed.
  void arm_timer(Timer& timer, TimeNs deadline_ns, std::coroutine_handle<> waiter);

 protected:
  struct SleepAwaiter {
    Reactor& reactor;
    TimeNs deadline_ns;
    Timer timer;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      reactor.arm_timer(timer, deadline_ns, waiter);
    }
    void await_resume() const {}
  };
  struct YieldAwaiter {
    Reactor& reactor;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> waiter) { reactor.schedule(waiter); }
    void await_resume() const {}
  };

  /// Resumes what is ready (at most `limit` handles), then runs hooks if the queue is empty.
  /// Returns true if anything ran.
  bool run_turn(size_t limit);
  /// Schedules the waiters of all timers due at `now_ns`.
  void fire_timers(TimeNs now_ns);
  /// Deadline of the earliest timer, or `never` if none.
  TimeNs next_deadline(TimeNs never) const {
    return timers_.empty() ? never : timers_.front()->deadline_ns_;
  }
  bool has_ready() const { return !ready_.empty() || !hooks_.empty(); }

 private:
  friend class Timer;
  struct Root;
  void remove_timer(Timer& timer);
  void sift_up(size_t index);
  void sift_down(size_t index);
  static bool earlier(const Timer& a, const Timer& b) {
    return a.deadline_ns_ != b.deadline_ns_ ? a.deadline_ns_ < b.deadline_ns_ : a.order_ < b.order_;
  }

  ReadyQueue ready_;
  IntrusiveList<TurnHook> hooks_;
  std::vector<Timer*> timers_;
  uint64_t timer_order_ = 0;
  ListNode roots_;  // circular, of Root promises
  size_t task_count_ = 0;
  Random random_;
};

}  // namespace latte
