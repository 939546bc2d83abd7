// EngineThread: a reactor running on its own thread, for whoever else wants to block.
//
// Invariant: the reactor runs from start() to stop(); what was made on it must be destroyed after
// stop(), which leaves nothing under way. Thread rule: made, stopped and destroyed by one thread;
// call() on any thread but the reactor's.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "control/core_list.h"
#include "runtime/call_on.h"
#include "runtime/uring_reactor.h"

namespace latte {

class EngineThread {
 public:
  struct Options {
    Polling polling = Polling::adaptive;
    std::vector<unsigned> cores{};  ///< to stay on; below kMaxCores; empty: any
    std::string name = "engine";    ///< of the thread, for errors; at most 9 letters
  };
  /// Errors: as UringReactor::create(); invalid (a core that is not there, or not for us).
  static Result<std::unique_ptr<EngineThread>> start(Options options);
  ~EngineThread();
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  UringReactor& reactor() { return *reactor_; }
  /// As call_on().
  template <typename Function>
  auto call(Function function) {
    return call_on(*reactor_, std::move(function));
  }
  /// Ends the thread and whatever still was under way. Nobody may be in call(). Twice is fine.
  void stop();

 private:
  EngineThread(std::unique_ptr<UringReactor> reactor, const std::string& name);

  std::unique_ptr<UringReactor> reactor_;
  std::thread thread_;
};

}  // namespace latte
