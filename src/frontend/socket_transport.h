// SocketTransport: a connected stream socket driven by the reactor's io_uring.
//
// Thread rule: the reactor's thread. Limits: one receive and one send at a time.
#pragma once

#include <sys/socket.h>

#include <string>

#include "frontend/transport.h"
#include "runtime/uring_reactor.h"

namespace latte {

class SocketTransport final : public Transport {
 public:
  /// Takes `fd`, a connected socket in blocking mode (a non-blocking one would not wait in the
  /// ring), and closes it in the end. Nothing may be under way then.
  SocketTransport(UringReactor& reactor, int fd);
  ~SocketTransport() override;
  SocketTransport(const SocketTransport&) = delete;
  SocketTransport& operator=(const SocketTransport&) = delete;

  Task<int> receive(const iovec* pieces, uint32_t count) override;
  Task<int> send(iovec* pieces, uint32_t count) override;
  void stop_receiving() override { ::shutdown(fd_, SHUT_RD); }
  void abort() override { ::shutdown(fd_, SHUT_RDWR); }

 private:
  UringReactor& reactor_;
  const int fd_;
};

/// Who is at the other end of a connected socket, for the log: "process 123", "192.0.2.7:40000".
std::string describe_peer(int fd);

}  // namespace latte
