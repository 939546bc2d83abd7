#include "runtime/reactor.h"

#include <utility>

namespace latte {

// A root task's wrapper: linked into its reactor while it lives, destroys itself when it ends.
struct Reactor::Root {
  struct promise_type : ListNode {
    Reactor* reactor = nullptr;
    static void* operator new(size_t bytes) { return allocate_frame(bytes); }
    static void operator delete(void* frame, size_t bytes) noexcept { free_frame(frame, bytes); }
    Root get_return_object() {
      return Root{std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
    ~promise_type() {
      if (reactor != nullptr) --reactor->task_count_;
    }
  };
  std::coroutine_handle<promise_type> handle;

  static Root run(Task<void> task) { co_await task; }
};

Timer::~Timer() { cancel(); }

void Timer::cancel() {
  if (reactor_ != nullptr) reactor_->remove_timer(*this);
}

void ReadyQueue::push(std::coroutine_handle<> handle) {
  if (tail_ - head_ == ring_.size()) {
    std::vector<std::coroutine_handle<>> larger(ring_.size() * 2);
    for (size_t i = head_; i != tail_; ++i) larger[i - head_] = ring_[i & (ring_.size() - 1)];
    tail_ -= head_;
    head_ = 0;
    ring_ = std::move(larger);
  }
  ring_[tail_++ & (ring_.size() - 1)] = handle;
}

std::coroutine_handle<> ReadyQueue::pop() {
  LATTE_CHECK(!empty());
  return ring_[head_++ & (ring_.size() - 1)];
}

Reactor::~Reactor() {
  destroy_tasks();
  while (!timers_.empty()) remove_timer(*timers_.back());
}

void Reactor::spawn(Task<void> task) {
  Root root = Root::run(std::move(task));
  auto& promise = root.handle.promise();
  promise.reactor = this;
  if (roots_.next == nullptr) roots_.prev = roots_.next = &roots_;
  promise.prev = roots_.prev;
  promise.next = &roots_;
  roots_.prev->next = &promise;
  roots_.prev = &promise;
  ++task_count_;
  schedule(root.handle);
}

void Reactor::destroy_tasks() {
  ready_.clear();
  while (roots_.next != nullptr && roots_.next != &roots_) {
    auto& promise = static_cast<Root::promise_type&>(*roots_.next);
    std::coroutine_handle<Root::promise_type>::from_promise(promise).destroy();
  }
  roots_.prev = roots_.next = nullptr;
  ready_.clear();
  hooks_.for_each([](TurnHook& hook) { hook.unlink(); });
}

void Reactor::arm_timer(Timer& timer, TimeNs deadline_ns, std::coroutine_handle<> waiter) {
  LATTE_CHECK(!timer.armed());
  timer.reactor_ = this;
  timer.deadline_ns_ = deadline_ns;
  timer.order_ = timer_order_++;
  timer.waiter_ = waiter;
  timer.heap_index_ = timers_.size();
  timers_.push_back(&timer);
  sift_up(timer.heap_index_);
}

bool Reactor::run_turn(size_t limit) {
  bool ran = false;
  for (size_t i = 0; i < limit && !ready_.empty(); ++i) {
    ready_.pop().resume();
    ran = true;
  }
  if (!ready_.empty()) return true;
  // A hook may arm others (or itself again): those run at the end of the next turn.
  size_t count = 0;
  hooks_.for_each([&](TurnHook&) { ++count; });
  for (; count > 0 && !hooks_.empty(); --count) {
    hooks_.pop_front().at_turn_end();
    ran = true;
  }
  return ran;
}

void Reactor::fire_timers(TimeNs now_ns) {
  while (!timers_.empty() && timers_.front()->deadline_ns_ <= now_ns) {
    Timer& timer = *timers_.front();
    const auto waiter = timer.waiter_;
    remove_timer(timer);
    schedule(waiter);
  }
}

void Reactor::remove_timer(Timer& timer) {
  const size_t index = timer.heap_index_;
  LATTE_CHECK(index < timers_.size() && timers_[index] == &timer);
  timer.reactor_ = nullptr;
  Timer* last = timers_.back();
  timers_.pop_back();
  if (last == &timer) return;
  timers_[index] = last;
  last->heap_index_ = index;
  sift_up(index);
  sift_down(last->heap_index_);
}

void Reactor::sift_up(size_t index) {
  while (index > 0) {
    const size_t parent = (index - 1) / 2;
    if (!earlier(*timers_[index], *timers_[parent])) return;
    std::swap(timers_[index], timers_[parent]);
    timers_[index]->heap_index_ = index;
    timers_[parent]->heap_index_ = parent;
    index = parent;
  }
}

void Reactor::sift_down(size_t index) {
  for (;;) {
    size_t smallest = index;
    for (size_t child = 2 * index + 1; child <= 2 * index + 2 && child < timers_.size(); ++child)
      if (earlier(*timers_[child], *timers_[smallest])) smallest = child;
    if (smallest == index) return;
    std::swap(timers_[index], timers_[smallest]);
    timers_[index]->heap_index_ = index;
    timers_[smallest]->heap_index_ = smallest;
    index = smallest;
  }
}

}  // namespace latte
