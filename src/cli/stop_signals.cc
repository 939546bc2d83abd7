#include "cli/stop_signals.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <thread>

#include "base/check.h"
#include "base/logging.h"

namespace latte {
namespace {

sigset_t stop_set() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

StopSignals::StopSignals() {
  const sigset_t set = stop_set();
  LATTE_CHECK(::pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  // Detached: it waits for a second signal until the process ends.
  std::thread([state = state_] { watch(state); }).detach();
}

void StopSignals::watch(const std::shared_ptr<State>& state) {
  const sigset_t set = stop_set();
  int number = 0;
  LATTE_CHECK(::sigwait(&set, &number) == 0);
  log_info("{}: stopping; a second signal ends at once", ::strsignal(number));
  {
    std::lock_guard lock(state->mutex);
    state->stop = true;
  }
  state->changed.notify_all();
  LATTE_CHECK(::sigwait(&set, &number) == 0);
  log_warning("second signal: ended before the stop was complete; the next start recovers");
  ::_exit(1);
}

bool StopSignals::came() const {
  std::lock_guard lock(state_->mutex);
  return state_->stop;
}

void StopSignals::wait() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->stop; });
}

}  // namespace latte
