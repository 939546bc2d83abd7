// StopSignals: SIGTERM and SIGINT as something to wait for. The second one ends the process at
// once, in case that stopping cleanly waits for a cloud that does not answer; nothing acknowledged
// is lost by that.
//
// Thread rule: made on the main thread before any other exists (threads inherit that the signals
// are blocked); one at a time. It lives to the process's end.
#pragma once

#include <condition_variable>
#include <mutex>

namespace latte {

class StopSignals {
 public:
  StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Returns after the first signal.
  void wait();

 private:
  void watch();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
};

}  // namespace latte
