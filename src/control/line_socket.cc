#include "control/line_socket.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include <nlohmann/json.hpp>

namespace latte {
namespace {

using Clock = std::chrono::steady_clock;

int remaining_ms(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  return left.count() < 0 ? 0 : static_cast<int>(left.count());
}

}  // namespace

Result<LineSocket> LineSocket::connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path))
    return Error{Errc::invalid, fmt::format("control socket {}: the path is too long", path)};
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Error{Errc::io, fmt::format("control socket: {}", std::strerror(errno))};
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0)
    return LineSocket(std::move(fd));
  const int error = errno;
  const bool nobody = error == ENOENT || error == ECONNREFUSED;
  return Error{nobody ? Errc::not_found : Errc::io,
               fmt::format("no server answers at {}: {}; latte serve starts one", path,
                           std::strerror(error))};
}

Result<void> LineSocket::wait(short events, int timeout_ms) const {
  pollfd polled{fd_.get(), events, 0};
  int ready = 0;
  do {
    ready = ::poll(&polled, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready > 0) return {};
  return Error{Errc::io, ready == 0 ? "the other end did not answer in time"
                                    : fmt::format("poll: {}", std::strerror(errno))};
}

Result<std::string> LineSocket::read_line(int timeout_ms) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (size_t looked_at = 0;;) {
    const size_t end = received_.find('\n', looked_at);
    if (end != std::string::npos && end <= kMaxLineBytes) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    if (received_.size() > kMaxLineBytes)
      return Error{Errc::invalid, fmt::format("a line is longer than {} bytes", kMaxLineBytes)};
    looked_at = received_.size();
    const Result<void> ready = wait(POLLIN, remaining_ms(deadline));
    if (!ready) return ready.error();
    char piece[4096];
    const ssize_t got = ::recv(fd_.get(), piece, sizeof(piece), MSG_DONTWAIT);
    if (got == 0) return Error{Errc::not_found, "the other end closed the connection"};
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) return Error{Errc::io, fmt::format("recv: {}", std::strerror(errno))};
    received_.append(piece, static_cast<size_t>(got));
  }
}

Result<void> LineSocket::write_line(std::string line, int timeout_ms) {
  line += '\n';
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (size_t sent = 0; sent < line.size();) {
    const Result<void> ready = wait(POLLOUT, remaining_ms(deadline));
    if (!ready) return ready;
    const ssize_t put =
        ::send(fd_.get(), line.data() + sent, line.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (put < 0) return Error{Errc::io, fmt::format("send: {}", std::strerror(errno))};
    sent += static_cast<size_t>(put);
  }
  return {};
}

Result<void> LineSocket::write_json(const nlohmann::ordered_json& document, int timeout_ms) {
  return write_line(document.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace),
                    timeout_ms);
}

void LineSocket::cut() { ::shutdown(fd_.get(), SHUT_RDWR); }

}  // namespace latte
