// VhostUserChannel: the connected socket of one front-end: bytes and descriptors in, replies out.
//
// Invariants:
//  1. Every descriptor received is in the caller's hands or closed.
//  2. A reply's descriptor goes along with its first byte, once.
// Thread rule: the reactor's thread; one receive() and one send() at a time. Limits:
// kMaxDescriptors in a message.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "device/unique_fd.h"
#include "frontend/vhost_user_protocol.h"
#include "runtime/uring_reactor.h"

namespace latte::vhost {

using Descriptors = std::vector<UniqueFd>;

class VhostUserChannel {
 public:
  /// Takes `fd`, a connected unix socket in blocking mode. `who` names disk and front-end in the
  /// log.
  VhostUserChannel(UringReactor& reactor, UniqueFd fd, std::string who)
      : reactor_(reactor), fd_(std::move(fd)), who_(std::move(who)) {}

  /// Fills `bytes`; `descriptors` gets what came along (null: the kernel closes that). False: the
  /// front-end has gone, or sent too many.
  Task<bool> receive(std::span<std::byte> bytes, Descriptors* descriptors);
  /// False: the front-end has gone. `fd`: goes along unless it is -1.
  Task<bool> send(Reply reply, int fd);
  /// Nothing more comes in: what waits in receive() returns. What waits in send() returns too, and
  /// the front-end then sees the connection's end; else not before the channel is destroyed.
  void end_receiving();
  /// The front-end has gone, even if the end of its stream has not been read yet.
  bool peer_gone() const;
  const std::string& who() const { return who_; }

 private:
  UringReactor& reactor_;
  const UniqueFd fd_;
  const std::string who_;
  bool sending_ = false;
};

}  // namespace latte::vhost
