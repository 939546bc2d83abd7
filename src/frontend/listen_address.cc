#include "frontend/listen_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "base/check.h"
#include "device/unique_fd.h"

namespace latte {
namespace {

constexpr int kBacklog = 128;
// How long a server that holds the address may take to greet or to finish dying.
constexpr int kGreetingWaitMs = 1000;
constexpr int kAddressTries = 50;
constexpr auto kAddressPause = std::chrono::milliseconds(20);
constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::string_view kTcpPrefix = "tcp:";
constexpr size_t kMaxPathBytes = sizeof(sockaddr_un::sun_path) - 1;

Error invalid_address(std::string_view text, std::string_view what) {
  return {Errc::invalid, fmt::format("listen address '{}': {}; write unix:PATH or tcp:HOST:PORT "
                                     "(IPv6 in brackets)",
                                     text, what)};
}

Error socket_error(const ListenAddress& address, std::string_view step, int error) {
  if (error == EADDRINUSE) {
    return {Errc::busy, fmt::format("cannot listen on {}: another process does; stop it or choose "
                                    "another address",
                                    address.to_string())};
  }
  return {Errc::io, fmt::format("cannot listen on {}: {}: {}", address.to_string(), step,
                                std::strerror(error))};
}

sockaddr_un unix_address(const std::string& path) {
  LATTE_CHECK(path.size() <= kMaxPathBytes);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Who is behind a socket file.
enum class Listener { none, dying, alive };

// A killed server may still hold its socket for some milliseconds, until the kernel has taken its
// io_uring apart: it takes connections then, but greets nobody.
Listener probe(const sockaddr_un& address) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return Listener::alive;
  const UniqueFd owner(fd);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (::connect(fd, generic, sizeof(address)) != 0)
    return errno == ECONNREFUSED ? Listener::none : Listener::alive;
  pollfd greeting{fd, POLLIN, 0};
  if (::poll(&greeting, 1, kGreetingWaitMs) <= 0) return Listener::alive;
  char byte;
  return ::recv(fd, &byte, 1, 0) == 1 ? Listener::alive : Listener::dying;
}

}  // namespace

Result<ListenAddress> ListenAddress::parse(std::string_view text) {
  ListenAddress address;
  if (text.starts_with(kUnixPrefix)) {
    address.path = text.substr(kUnixPrefix.size());
    if (address.path.empty()) return invalid_address(text, "the path is missing");
    if (address.path.find('\0') != std::string::npos)
      return invalid_address(text, "the path has a NUL in it");
    return address;
  }
  if (!text.starts_with(kTcpPrefix)) return invalid_address(text, "neither unix: nor tcp:");
  address.kind = Kind::tcp;
  const std::string_view rest = text.substr(kTcpPrefix.size());
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return invalid_address(text, "the port is missing");
  std::string_view host = rest.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return invalid_address(text, "an IPv6 host needs brackets");
  }
  if (host.empty()) return invalid_address(text, "the host is missing (0.0.0.0 for all)");
  address.host = host;
  const std::string_view port = rest.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size())
    return invalid_address(text, "the port is no number from 0 to 65535");
  return address;
}

std::string ListenAddress::to_string() const {
  if (kind == Kind::unix_socket) return fmt::format("unix:{}", path);
  if (host.find(':') != std::string::npos) return fmt::format("tcp:[{}]:{}", host, port);
  return fmt::format("tcp:{}:{}", host, port);
}

std::string ListenAddress::nbd_uri(std::string_view export_name) const {
  if (kind == Kind::unix_socket) return fmt::format("nbd+unix:///{}?socket={}", export_name, path);
  return fmt::format("nbd://{}/{}", to_string().substr(kTcpPrefix.size()), export_name);
}

Result<ListenSocket> ListenSocket::open(const ListenAddress& address) {
  ListenSocket socket(address);
  const Result<void> opened =
      address.kind == ListenAddress::Kind::unix_socket ? socket.open_unix() : socket.open_tcp();
  if (!opened) return opened.error();
  return socket;
}

Result<void> ListenSocket::open_unix() {
  const std::string& path = address_.path;
  if (path.size() > kMaxPathBytes) {
    return Error{Errc::invalid,
                 fmt::format("cannot listen on {}: the path has {} bytes, a unix socket's has at "
                             "most {}; choose a shorter one",
                             address_.to_string(), path.size(), kMaxPathBytes)};
  }
  const sockaddr_un address = unix_address(path);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return socket_error(address_, "socket", errno);
  for (int tries = 0; ::bind(fd_, generic, sizeof(address)) != 0; ++tries) {
    if (errno != EADDRINUSE) return socket_error(address_, "bind", errno);
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0 && !S_ISSOCK(status.st_mode)) {
      return Error{Errc::invalid,
                   fmt::format("cannot listen on {}: a file that is no socket has this name; it "
                               "was left alone, remove it or choose another path",
                               address_.to_string())};
    }
    const Listener listener = probe(address);
    if (listener == Listener::alive || tries >= kAddressTries)
      return socket_error(address_, "bind", EADDRINUSE);
    if (listener == Listener::none) {
      ::unlink(path.c_str());
    } else {
      std::this_thread::sleep_for(kAddressPause);
    }
  }
  remember_file();
  if (::listen(fd_, kBacklog) != 0) return socket_error(address_, "listen", errno);
  return {};
}

Result<void> ListenSocket::open_tcp() {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(address_.port);
  const int looked_up = ::getaddrinfo(address_.host.c_str(), port.c_str(), &hints, &found);
  if (looked_up != 0) {
    return Error{Errc::invalid,
                 fmt::format("cannot listen on {}: host '{}': {}", address_.to_string(),
                             address_.host, ::gai_strerror(looked_up))};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  fd_ = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, found->ai_protocol);
  if (fd_ < 0) return socket_error(address_, "socket", errno);
  const int on = 1;
  if (::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
    return socket_error(address_, "SO_REUSEADDR", errno);
  for (int tries = 0; ::bind(fd_, found->ai_addr, found->ai_addrlen) != 0; ++tries) {
    if (errno != EADDRINUSE || tries >= kAddressTries) return socket_error(address_, "bind", errno);
    std::this_thread::sleep_for(kAddressPause);
  }
  if (::listen(fd_, kBacklog) != 0) return socket_error(address_, "listen", errno);
  remember_port();
  return {};
}

void ListenSocket::remember_port() {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  LATTE_CHECK(::getsockname(fd_, reinterpret_cast<sockaddr*>(&storage), &length) == 0);
  if (storage.ss_family == AF_INET)
    address_.port = ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
  if (storage.ss_family == AF_INET6)
    address_.port = ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
}

void ListenSocket::remember_file() {
  struct stat status {};
  if (::lstat(address_.path.c_str(), &status) != 0) return;
  file_device_ = status.st_dev;
  file_inode_ = status.st_ino;
}

void ListenSocket::close() {
  if (fd_ < 0) return;
  struct stat status {};
  // Another server may have replaced the file meanwhile; inode 0 means that it never was ours.
  if (file_inode_ != 0 && ::lstat(address_.path.c_str(), &status) == 0 &&
      status.st_dev == file_device_ && status.st_ino == file_inode_)
    ::unlink(address_.path.c_str());
  ::close(fd_);
  fd_ = -1;
}

ListenSocket::ListenSocket(ListenSocket&& other) noexcept
    : address_(std::move(other.address_)),
      fd_(std::exchange(other.fd_, -1)),
      file_device_(other.file_device_),
      file_inode_(std::exchange(other.file_inode_, 0)) {}

ListenSocket& ListenSocket::operator=(ListenSocket&& other) noexcept {
  std::swap(address_, other.address_);
  std::swap(fd_, other.fd_);
  std::swap(file_device_, other.file_device_);
  std::swap(file_inode_, other.file_inode_);
  return *this;
}

ListenSocket::~ListenSocket() { close(); }

}  // namespace latte
