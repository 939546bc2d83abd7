#include "frontend/acceptor.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/logging.h"

namespace latte {
namespace {

// After a failed accept (no descriptors, no memory) the next try waits this long.
constexpr TimeNs kAcceptPauseNs = 100 * kMillisecond;

}  // namespace

Acceptor::Acceptor(UringReactor& reactor, ListenSocket socket, std::string peer, Take take)
    : reactor_(reactor),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      take_(std::move(take)),
      accept_ended_(reactor) {
  LATTE_CHECK(take_ != nullptr);
}

Acceptor::~Acceptor() { LATTE_CHECK(!accepting_); }

void Acceptor::start() {
  LATTE_CHECK(!accepting_ && !stopping_);
  accepting_ = true;
  reactor_.spawn(accept_all());
}

Task<void> Acceptor::accept_all() {
  while (!stopping_) {
    const int fd = co_await reactor_.op([&](io_uring_sqe* sqe) {
      io_uring_prep_accept(sqe, socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC);
    });
    if (fd >= 0) {
      co_await take_(fd);
    } else if (!stopping_ && fd != -ECONNABORTED && fd != -EINTR) {
      log_warning("{}: cannot accept {}: {}; trying again", address().to_string(), peer_,
                  std::strerror(-fd));
      co_await reactor_.sleep(kAcceptPauseNs);
    }
  }
  accepting_ = false;
  accept_ended_.notify_all();
}

bool Acceptor::begin_stop() {
  if (std::exchange(stopping_, true)) return false;
  if (accepting_) reactor_.cancel_fd(socket_.fd());
  return true;
}

Task<void> Acceptor::ended() {
  LATTE_CHECK(stopping_);
  while (accepting_) co_await accept_ended_.wait();
  socket_.close();
}

}  // namespace latte
