// Where a server listens: the address as the configuration writes it, and the listening socket.
//
// Invariants:
//  1. A socket file is replaced only if nobody answers on it, and removed only if it is still ours.
// Thread rule: one owner. Limits: a unix socket's path has at most 107 bytes (the kernel's).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace latte {

struct ListenAddress {
  enum class Kind : uint8_t { unix_socket, tcp };
  Kind kind = Kind::unix_socket;
  std::string path;   ///< unix_socket
  std::string host;   ///< tcp: name or number, IPv6 without brackets
  uint16_t port = 0;  ///< tcp; 0 lets the kernel choose

  /// Reads `unix:PATH` or `tcp:HOST:PORT` (`tcp:[::1]:10809` for IPv6). Errors: invalid.
  static Result<ListenAddress> parse(std::string_view text);
  /// As parse() reads it.
  std::string to_string() const;
  /// The NBD URI under which clients find `export_name` here.
  std::string nbd_uri(std::string_view export_name) const;
};

/// A socket that listens. Move only; closes (and removes its file) when destroyed.
class ListenSocket {
 public:
  /// Blocks for up to a second if the address is held, by a server that is being killed perhaps.
  /// Errors: busy (somebody listens there), invalid (no such host, path too long, not a socket),
  /// io.
  static Result<ListenSocket> open(const ListenAddress& address);
  ListenSocket(ListenSocket&& other) noexcept;
  ListenSocket& operator=(ListenSocket&& other) noexcept;
  ~ListenSocket();

  int fd() const { return fd_; }
  /// With the port that the kernel chose, if it did.
  const ListenAddress& address() const { return address_; }
  void close();

 private:
  explicit ListenSocket(ListenAddress address) : address_(std::move(address)) {}
  Result<void> open_unix();
  Result<void> open_tcp();
  void remember_port();
  void remember_file();

  ListenAddress address_;
  int fd_ = -1;
  dev_t file_device_ = 0;
  ino_t file_inode_ = 0;
};

}  // namespace latte
