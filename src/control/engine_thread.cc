#include "control/engine_thread.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <cstring>

namespace latte {

Result<std::unique_ptr<EngineThread>> EngineThread::start(const Options& options) {
  UringReactor::Options reactor_options;
  reactor_options.name = "engine";
  reactor_options.polling = options.polling;
  auto reactor = UringReactor::create(std::move(reactor_options));
  if (!reactor) return reactor.error();
  std::unique_ptr<EngineThread> engine(new EngineThread(reactor.take()));
  if (!options.core) return engine;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(*options.core, &only);
  const int error = ::pthread_setaffinity_np(engine->thread_.native_handle(), sizeof(only), &only);
  if (error != 0)
    return Error{Errc::invalid,
                 fmt::format("reactor.core = {}: {}; name a core that is there and that this "
                             "process may use (taskset -cp {})",
                             *options.core, std::strerror(error), ::getpid())};
  return engine;
}

EngineThread::EngineThread(std::unique_ptr<UringReactor> reactor)
    : reactor_(std::move(reactor)), thread_([this] {
        ::pthread_setname_np(::pthread_self(), "latte-engine");
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
