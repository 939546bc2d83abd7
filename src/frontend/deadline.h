// Deadline: a time limit that one task watches and others move.
//
// Thread rule: one reactor. Limits: one watcher at a time.
#pragma once

#include <coroutine>
#include <cstdint>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "runtime/reactor.h"
#include "runtime/task.h"

namespace latte {

class Deadline {
 public:
  /// A deadline that never comes.
  static constexpr TimeNs kNever = INT64_MAX;

  explicit Deadline(Reactor& reactor) : reactor_(reactor) {}

  TimeNs time_ns() const { return time_ns_; }
  void set(TimeNs time_ns) {
    time_ns_ = time_ns;
    wake();
  }
  /// Ends the watch.
  void end() {
    ended_ = true;
    wake();
  }

  /// Waits. True: the deadline came, and is now kNever again. False: end() was called.
  Task<bool> expired() {
    while (!ended_) {
      if (time_ns_ <= reactor_.now()) {
        time_ns_ = kNever;
        co_return true;
      }
      co_await Wait{*this};
    }
    co_return false;
  }

 private:
  struct Wait {
    Deadline& deadline;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> watcher) {
      LATTE_CHECK(!deadline.watcher_);
      deadline.watcher_ = watcher;
      deadline.timed_ = deadline.time_ns_ != kNever;
      if (deadline.timed_) deadline.reactor_.arm_timer(deadline.timer_, deadline.time_ns_, watcher);
    }
    void await_resume() { deadline.watcher_ = nullptr; }
  };

  void wake() {
    if (!watcher_) return;
    if (timed_ && !timer_.armed()) return;  // the timer has fired, or wake() was here: it is coming
    timer_.cancel();
    timed_ = true;
    reactor_.schedule(watcher_);
  }

  Reactor& reactor_;
  TimeNs time_ns_ = kNever;
  bool ended_ = false;
  Timer timer_;
  bool timed_ = false;
  std::coroutine_handle<> watcher_;
};

}  // namespace latte
