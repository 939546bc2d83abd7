// HybridDisk: waiting for whichever of several I/Os ends first.
#pragma once

#include <coroutine>

#include "disk/hybrid_disk.h"

namespace latte {

// Whoever waits for the first of several I/Os, until a time. Thread rule: the disk's reactor.
struct HybridDisk::Race {
  struct Wait {
    Reactor& reactor;
    Race& race;
    TimeNs due_ns;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      race.waiter = handle;
      reactor.arm_timer(race.timer, due_ns, handle);
    }
    void await_resume() const {}
  };
  void wake(Reactor& reactor) {
    if (!timer.armed()) return;
    timer.cancel();
    reactor.schedule(waiter);
  }

  Timer timer;
  std::coroutine_handle<> waiter;
};

}  // namespace latte
