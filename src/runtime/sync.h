// Waiting inside one reactor: a queue of suspended coroutines, and a counting semaphore on top.
// Thread rule: one reactor. Wake-ups are in order of arrival.
#pragma once

#include <coroutine>
#include <cstdint>

#include "base/intrusive_list.h"
#include "runtime/reactor.h"

namespace latte {

/// Coroutines waiting for something to change. As with a condition variable: wait in a loop that
/// checks the condition again.
class WaitQueue {
 public:
  explicit WaitQueue(Reactor& reactor) : reactor_(reactor) {}

  struct Awaiter : ListNode {
    explicit Awaiter(WaitQueue& owner) : queue(owner) {}
    WaitQueue& queue;
    std::coroutine_handle<> waiter;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      waiter = handle;
      queue.waiters_.push_back(*this);
    }
    void await_resume() const {}
  };
  /// `co_await queue.wait()`: resumes after a later notify.
  Awaiter wait() { return Awaiter(*this); }
  void notify_one() {
    if (!waiters_.empty()) reactor_.schedule(waiters_.pop_front().waiter);
  }
  void notify_all() {
    ++notified_;
    while (!waiters_.empty()) notify_one();
  }
  /// Calls of notify_all() so far: who did something else meanwhile sees that it missed one.
  uint64_t notified() const { return notified_; }
  bool has_waiters() const { return !waiters_.empty(); }

 private:
  Reactor& reactor_;
  IntrusiveList<Awaiter> waiters_;
  uint64_t notified_ = 0;
};

/// Bounds how many of something are under way.
class Semaphore {
 public:
  Semaphore(Reactor& reactor, uint64_t count) : available_(count), queue_(reactor) {}

  Task<void> acquire(uint64_t count = 1) {
    while (available_ < count) co_await queue_.wait();
    available_ -= count;
  }
  void release(uint64_t count = 1) {
    available_ += count;
    queue_.notify_all();
  }
  uint64_t available() const { return available_; }

 private:
  uint64_t available_;
  WaitQueue queue_;
};

}  // namespace latte
