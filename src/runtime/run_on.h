// run_on(): a coroutine on one reactor has something done on another and waits for its result,
// without blocking either. For set-up and take-down; requests go over a ReactorLink.
//
// Thread rule: called and resumed on `here`; `function` runs on `there`. Both reactors must go on
// running until it returns, or `there` be stopped first.
#pragma once

#include <optional>
#include <utility>

#include "runtime/call_on.h"

namespace latte {
namespace detail {

/// Pause before a full mailbox is tried again.
inline constexpr TimeNs kErrandRetryNs = 100 * kMicrosecond;

/// One run_on() under way, in its frame.
template <typename Function>
struct Errand {
  using Returned = std::invoke_result_t<Function&>;
  using Value = typename TaskResult<Returned>::Type;

  UringReactor& here;
  UringReactor& there;
  Function& function;
  std::optional<Stored<Value>> result{};
  std::coroutine_handle<> waiter{};

  static Task<void> run(Errand* errand) {
    if constexpr (TaskResult<Returned>::is_task) {
      Returned task = errand->function();
      co_await store_result(std::move(task), &errand->result);
    } else if constexpr (std::is_void_v<Value>) {
      errand->function();
      errand->result.emplace();
    } else {
      errand->result.emplace(errand->function());
    }
    UringReactor& there = errand->there;
    UringReactor& here = errand->here;
    while (!here.mailbox().post({&end, errand})) co_await there.sleep(kErrandRetryNs);
  }
  static void begin(Reactor& there, void* context) {
    Task<void> task = run(static_cast<Errand*>(context));
    there.spawn(std::move(task));
  }
  static void end(Reactor& here, void* context) {
    here.schedule(static_cast<Errand*>(context)->waiter);
  }

  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) { waiter = handle; }
  void await_resume() const {}
};

}  // namespace detail

/// Runs `function` on `there` and returns its result; if it returns a Task<T>, the T.
template <typename Function>
Task<typename detail::Errand<Function>::Value> run_on(UringReactor& here, UringReactor& there,
                                                      Function function) {
  using Errand = detail::Errand<Function>;
  LATTE_CHECK(here.on_reactor_thread());
  Errand errand{here, there, function};
  if (&here == &there) {
    if constexpr (detail::TaskResult<typename Errand::Returned>::is_task)
      co_return co_await function();
    else
      co_return function();
  }
  while (!there.mailbox().post({&Errand::begin, &errand}))
    co_await here.sleep(detail::kErrandRetryNs);
  co_await errand;
  LATTE_CHECK(errand.result.has_value());
  if constexpr (!std::is_void_v<typename Errand::Value>) co_return std::move(*errand.result);
}

}  // namespace latte
