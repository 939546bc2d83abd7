// Calls that block for long or for ever - a library's own - on threads of their own, so that
// whoever waits can stop waiting. Not for the I/O path: each call starts a thread.
//
// Thread rule: any. `function` runs on its thread to its end, whatever became of the caller: it
// owns what it touches.
#pragma once

#include <chrono>
#include <future>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include "base/reserved_cores.h"
#include "runtime/reactor.h"
#include "runtime/task.h"

namespace latte {

template <typename Function>
auto start_aside(Function function) -> std::future<std::invoke_result_t<Function&>> {
  std::packaged_task<std::invoke_result_t<Function&>()> task(
      [function = std::move(function)]() mutable {
        keep_off_reserved_cores();
        return function();
      });
  auto result = task.get_future();
  std::thread(std::move(task)).detach();
  return result;
}

/// Blocks for the result, at most `limit_ns`; empty if it took longer.
template <typename Function>
auto wait_aside(Function function, TimeNs limit_ns)
    -> std::optional<std::invoke_result_t<Function&>> {
  auto result = start_aside(std::move(function));
  if (result.wait_for(std::chrono::nanoseconds(limit_ns)) != std::future_status::ready) return {};
  return result.get();
}

/// How often a coroutine looks whether the result is there.
inline constexpr TimeNs kAsideLookNs = kMillisecond;

/// The same for a coroutine: the reactor goes on meanwhile.
template <typename T>
Task<std::optional<T>> await_aside(Reactor& reactor, std::future<T> result, TimeNs limit_ns) {
  const TimeNs deadline_ns = reactor.now() + limit_ns;
  while (result.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    if (reactor.now() >= deadline_ns) co_return std::optional<T>();
    co_await reactor.sleep(kAsideLookNs);
  }
  co_return std::optional<T>(result.get());
}

}  // namespace latte
