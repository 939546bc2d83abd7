// StopSignals: SIGTERM and SIGINT as something to wait for. The second one ends the process at
// once, in case that stopping cleanly waits for a cloud that does not answer; nothing acknowledged
// is lost by that.
//
// Thread rule: made on the main thread before any other exists (threads inherit that the signals
// are blocked); one a process. Its watching thread lives to the process's end.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>

namespace latte {

class StopSignals {
 public:
  StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Returns after the first signal.
  void wait();
  /// True after the first signal.
  bool came() const;

 private:
  // The watching thread's too: it may still be at it when this object goes.
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    bool stop = false;
  };
  static void watch(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace latte
