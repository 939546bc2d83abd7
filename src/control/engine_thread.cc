#include "control/engine_thread.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <cstring>

namespace latte {

Result<std::unique_ptr<EngineThread>> EngineThread::start(Options options) {
  UringReactor::Options reactor_options;
  reactor_options.name = options.name;
  reactor_options.polling = options.polling;
  auto reactor = UringReactor::create(std::move(reactor_options));
  if (!reactor) return reactor.error();
  std::unique_ptr<EngineThread> engine(new EngineThread(reactor.take(), options.name));
  if (options.cores.empty()) return engine;
  cpu_set_t only;
  CPU_ZERO(&only);
  std::string names;
  for (const unsigned core : options.cores) {
    LATTE_CHECK(core < kMaxCores);
    CPU_SET(core, &only);
    names += fmt::format("{}{}", names.empty() ? "" : ", ", core);
  }
  const int error = ::pthread_setaffinity_np(engine->thread_.native_handle(), sizeof(only), &only);
  if (error != 0)
    return Error{Errc::invalid,
                 fmt::format("[reactor]: the thread {} can't run on core {}: {}; name cores that "
                             "are there and that this process may use (taskset -cp {})",
                             options.name, names, std::strerror(error), ::getpid())};
  // A node's are shared.
  if (options.cores.size() == 1) reserve_cores(options.cores);
  return engine;
}

EngineThread::EngineThread(std::unique_ptr<UringReactor> reactor, const std::string& name)
    : reactor_(std::move(reactor)), thread_([this, name] {
        ::pthread_setname_np(::pthread_self(), ("latte-" + name).c_str());
        reactor_->run();
        reactor_->shutdown();
      }) {}

EngineThread::~EngineThread() { stop(); }

void EngineThread::stop() {
  if (!thread_.joinable()) return;
  reactor_->stop();
  thread_.join();
}

}  // namespace latte
