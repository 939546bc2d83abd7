// Repeater: a coroutine that is made once and resumed again and again: for whoever waits for one
// thing after the other and wants no frame for each. Its body is an endless loop around co_await.
// Thread rule: resumed by one thread at a time.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

namespace latte {

class Repeater {
 public:
  struct promise_type {
    Repeater get_return_object() {
      return Repeater(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
  };

  Repeater() = default;
  explicit Repeater(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Repeater(Repeater&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Repeater& operator=(Repeater&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Repeater() {
    if (handle_) handle_.destroy();
  }
  std::coroutine_handle<> handle() const { return handle_; }

 private:
  std::coroutine_handle<promise_type> handle_ = nullptr;
};

}  // namespace latte
