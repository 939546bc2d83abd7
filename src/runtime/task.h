// Task<T>: the tree's one way of writing asynchronous code. A lazy coroutine that starts when it is
// awaited and resumes its awaiter when it ends (symmetric transfer: no stack growth, no queue hop).
//
// Invariants:
//  1. A Task owns its frame. Destroying a Task that is suspended destroys the frames it waits for,
//     innermost first; that is how the simulator kills a process at any point.
//  2. No exception leaves a Task: an escaping one ends the process.
// Thread rule: a Task runs on the reactor that started it, from start to end.
// Compiler rule (g++ 12): no `co_await` inside a conditional operator, no coroutine whose first
// `co_await` is the condition of an `if` in a loop (it may lay its frame out wrongly; debug builds
// check), and no temporaries with destructors in the arguments of a coroutine call other than what
// is moved in; name them first.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <new>
#include <utility>

#include "base/check.h"
#include "runtime/frame_pool.h"

namespace latte {

template <typename T>
class Task;

namespace detail {

#ifndef NDEBUG
/// The frame allocated last on this thread: where the next promise must think that it lives.
inline thread_local void* newest_frame = nullptr;
#endif

/// Checks (debug builds) that the compiler placed the promise where resuming will look for it.
inline void check_frame([[maybe_unused]] std::coroutine_handle<> handle) {
#ifndef NDEBUG
  LATTE_CHECK(handle.address() == newest_frame);
#endif
}

struct PromiseBase {
  std::coroutine_handle<> awaiter;

  static void* operator new(size_t bytes) {
    void* frame = allocate_frame(bytes);
#ifndef NDEBUG
    newest_frame = frame;
#endif
    return frame;
  }
  static void operator delete(void* frame, size_t bytes) noexcept { free_frame(frame, bytes); }

  std::suspend_always initial_suspend() noexcept { return {}; }
  struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    template <typename Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> done) noexcept {
      return done.promise().awaiter;
    }
    void await_resume() noexcept {}
  };
  FinalAwaiter final_suspend() noexcept { return {}; }
  [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
};

template <typename T>
struct Promise : PromiseBase {
  union {
    T value;
  };
  bool has_value = false;

  Promise() noexcept {}
  ~Promise() {
    if (has_value) value.~T();
  }
  Task<T> get_return_object() noexcept;
  template <typename U>
  void return_value(U&& result) {
    ::new (static_cast<void*>(&value)) T(std::forward<U>(result));
    has_value = true;
  }
  T take() {
    LATTE_CHECK(has_value);
    return std::move(value);
  }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object() noexcept;
  void return_void() noexcept {}
  void take() noexcept {}
};

}  // namespace detail

template <typename T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() = default;
  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
    handle_.promise().awaiter = awaiter;
    return handle_;
  }
  T await_resume() { return handle_.promise().take(); }

 private:
  Handle handle_ = nullptr;
};

namespace detail {
template <typename T>
Task<T> Promise<T>::get_return_object() noexcept {
  const auto handle = std::coroutine_handle<Promise<T>>::from_promise(*this);
  check_frame(handle);
  return Task<T>(handle);
}
inline Task<void> Promise<void>::get_return_object() noexcept {
  const auto handle = std::coroutine_handle<Promise<void>>::from_promise(*this);
  check_frame(handle);
  return Task<void>(handle);
}
}  // namespace detail

}  // namespace latte
