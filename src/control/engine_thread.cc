#include "control/engine_thread.h"

#include <pthread.h>

namespace latte {

Result<std::unique_ptr<EngineThread>> EngineThread::start() {
  UringReactor::Options options;
  options.name = "engine";
  auto reactor = UringReactor::create(std::move(options));
  if (!reactor) return reactor.error();
  return std::unique_ptr<EngineThread>(new EngineThread(reactor.take()));
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
