#include "frontend/socket_transport.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/check.h"

namespace latte {
namespace {

/// Asked for; the kernel gives at most twice net.core.wmem_max (416 KiB unless it was raised).
constexpr int kUnixSendBytes = 1 << 20;

// Takes `bytes` off the front of the pieces.
void advance(iovec*& pieces, uint32_t& count, size_t bytes) {
  while (count > 0 && bytes >= pieces->iov_len) {
    bytes -= pieces->iov_len;
    ++pieces;
    --count;
  }
  LATTE_CHECK(count > 0 || bytes == 0);
  if (bytes == 0) return;
  pieces->iov_base = static_cast<char*>(pieces->iov_base) + bytes;
  pieces->iov_len -= bytes;
}

void set_option(int fd, int level, int name, int value) {
  // A unix socket knows none of these, and a socket works without them: failure changes nothing.
  (void)::setsockopt(fd, level, name, &value, sizeof(value));
}

bool is_unix(int fd) {
  int domain = 0;
  socklen_t length = sizeof(domain);
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

}  // namespace

SocketTransport::SocketTransport(UringReactor& reactor, int fd) : reactor_(reactor), fd_(fd) {
  LATTE_CHECK(fd >= 0);
  // By default a unix socket takes one reply of 128 KiB: the next would wait until the client had
  // read it. TCP finds its own size, and would stop doing so if it were given one.
  if (is_unix(fd_)) set_option(fd_, SOL_SOCKET, SO_SNDBUF, kUnixSendBytes);
  set_option(fd_, IPPROTO_TCP, TCP_NODELAY, 1);
  // A client that lost its power would hold its place for ever: it is gone after 90 s of silence.
  set_option(fd_, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd_, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set_option(fd_, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set_option(fd_, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

SocketTransport::~SocketTransport() { ::close(fd_); }

Task<int> SocketTransport::receive(const iovec* pieces, uint32_t count) {
  LATTE_CHECK(count > 0);
  if (count == 1) {
    const iovec piece = *pieces;
    co_return co_await reactor_.op(
        [&](io_uring_sqe* sqe) { io_uring_prep_recv(sqe, fd_, piece.iov_base, piece.iov_len, 0); });
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = count;
  co_return co_await reactor_.op(
      [&](io_uring_sqe* sqe) { io_uring_prep_recvmsg(sqe, fd_, &message, 0); });
}

Task<int> SocketTransport::send(iovec* pieces, uint32_t count) {
  msghdr message{};
  while (count > 0) {
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    // WAITALL: the kernel goes on by itself when the socket's buffer was full.
    const int sent = co_await reactor_.op([&](io_uring_sqe* sqe) {
      io_uring_prep_sendmsg(sqe, fd_, &message, MSG_NOSIGNAL | MSG_WAITALL);
    });
    if (sent < 0) co_return sent;
    if (sent == 0) co_return -EPIPE;
    advance(pieces, count, static_cast<size_t>(sent));
  }
  co_return 0;
}

std::string describe_peer(int fd) {
  sockaddr_storage address{};
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof(address);
  if (::getpeername(fd, generic, &length) != 0) return "unknown";
  if (address.ss_family == AF_UNIX) {
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return "unknown";
    return fmt::format("process {}", credentials.pid);
  }
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  const int numeric = NI_NUMERICHOST | NI_NUMERICSERV;
  if (::getnameinfo(generic, length, host, sizeof(host), port, sizeof(port), numeric) != 0)
    return "unknown";
  return fmt::format("{}:{}", host, port);
}

}  // namespace latte
