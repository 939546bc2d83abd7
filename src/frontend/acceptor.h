// Acceptor: accepts connections on a listening socket, one after the other, until it is stopped.
//
// Invariants:
//  1. Every connection accepted is handed over; while one is being taken no other is accepted.
//  2. After ended() nothing of it is under way, and the socket is closed.
// Thread rule: the reactor's thread. Limits: one listening socket; connections that have not been
// accepted wait in the kernel's backlog.
#pragma once

#include <functional>
#include <string>

#include "frontend/listen_address.h"
#include "runtime/sync.h"
#include "runtime/uring_reactor.h"

namespace latte {

class Acceptor {
 public:
  /// Gets the descriptor of a connection, to keep or to close, also when stopping() by now.
  using Take = std::function<Task<void>(int fd)>;

  /// `peer` is what connects, for the log ("a client").
  Acceptor(UringReactor& reactor, ListenSocket socket, std::string peer, Take take);
  /// Not while it accepts: see begin_stop().
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  /// Once, and not after begin_stop().
  void start();
  /// Accepts no more. False: that was called before.
  [[nodiscard]] bool begin_stop();
  /// After begin_stop(): returns when the last connection has been taken, and closes the socket.
  Task<void> ended();

  bool started() const { return accepting_; }
  bool stopping() const { return stopping_; }
  const ListenAddress& address() const { return socket_.address(); }

 private:
  Task<void> accept_all();

  UringReactor& reactor_;
  ListenSocket socket_;
  const std::string peer_;
  const Take take_;
  bool accepting_ = false;
  bool stopping_ = false;
  WaitQueue accept_ended_;
};

}  // namespace latte
