// Running something on a reactor and waiting for its result: from another thread (call_on), or on
// the reactor's own thread before or between runs (run_task).
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/check.h"
#include "runtime/task.h"
#include "runtime/uring_reactor.h"

namespace latte {
namespace detail {

template <typename T>
struct TaskResult {
  using Type = T;
  static constexpr bool is_task = false;
};
template <typename T>
struct TaskResult<Task<T>> {
  using Type = T;
  static constexpr bool is_task = true;
};

/// void cannot be stored; everything else is itself.
template <typename T>
using Stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <typename T>
Task<void> store_result(Task<T> task, std::optional<Stored<T>>* result) {
  if constexpr (std::is_void_v<T>) {
    co_await task;
    result->emplace();
  } else {
    result->emplace(co_await task);
  }
}

/// One call_on() under way, on the caller's stack.
template <typename Function>
struct Call {
  using Returned = std::invoke_result_t<Function&>;
  using Value = typename TaskResult<Returned>::Type;

  explicit Call(Function& target) : function(target) {}
  Function& function;
  std::optional<Stored<Value>> result;
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;

  void finish() {
    // Notify under the lock: the caller destroys this as soon as it sees `done`.
    std::lock_guard lock(mutex);
    done = true;
    changed.notify_one();
  }
  static Task<void> run_task(Call* call) {
    Returned task = call->function();
    co_await store_result(std::move(task), &call->result);
    call->finish();
  }
  static void run(Reactor& reactor, void* context) {
    auto* call = static_cast<Call*>(context);
    if constexpr (TaskResult<Returned>::is_task) {
      Task<void> task = run_task(call);
      reactor.spawn(std::move(task));
    } else {
      if constexpr (std::is_void_v<Value>) {
        call->function();
        call->result.emplace();
      } else {
        call->result.emplace(call->function());
      }
      call->finish();
    }
  }
};

/// Pause before a full mailbox is tried again.
inline constexpr std::chrono::microseconds kMailboxRetry{100};

}  // namespace detail

/// Runs `function` on `reactor` and returns its result; if it returns a Task<T>, the T. Blocks the
/// calling thread, which must not be the reactor's. The reactor must go on running until this
/// returns: end the threads that call before stop().
template <typename Function>
auto call_on(UringReactor& reactor, Function function) -> typename detail::Call<Function>::Value {
  LATTE_CHECK(!reactor.on_reactor_thread());
  detail::Call<Function> call(function);
  const Message message{&detail::Call<Function>::run, &call};
  while (!reactor.mailbox().post(message)) std::this_thread::sleep_for(detail::kMailboxRetry);
  std::unique_lock lock(call.mutex);
  call.changed.wait(lock, [&] { return call.done; });
  LATTE_CHECK(call.result.has_value());
  if constexpr (!std::is_void_v<typename detail::Call<Function>::Value>) {
    return std::move(*call.result);
  }
}

/// Runs the reactor on this thread until `task` has ended (or stop(), which is then a programmer's
/// error) and returns its result.
template <typename T>
T run_task(UringReactor& reactor, Task<T> task) {
  std::optional<detail::Stored<T>> result;
  auto body = [](UringReactor* owner, Task<T> inner,
                 std::optional<detail::Stored<T>>* out) -> Task<void> {
    co_await detail::store_result(std::move(inner), out);
    owner->stop();
  };
  Task<void> wrapper = body(&reactor, std::move(task), &result);
  reactor.spawn(std::move(wrapper));
  reactor.run();
  LATTE_CHECK(result.has_value());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace latte
