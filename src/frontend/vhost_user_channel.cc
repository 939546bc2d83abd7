#include "frontend/vhost_user_channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/logging.h"

namespace latte::vhost {
namespace {

/// Most entries that the control data of one message can have.
constexpr size_t kControlBytes = CMSG_SPACE(kMaxDescriptors * sizeof(int));

/// Takes the descriptors out of a received message. False: some were cut off.
bool take_descriptors(msghdr& header, Descriptors& out) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      out.emplace_back(fd);
    }
  }
  return (header.msg_flags & MSG_CTRUNC) == 0;
}

}  // namespace

Task<bool> VhostUserChannel::receive(std::span<std::byte> bytes, Descriptors* descriptors) {
  alignas(cmsghdr) std::array<char, kControlBytes> control;
  while (!bytes.empty()) {
    iovec piece{bytes.data(), bytes.size()};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    if (descriptors != nullptr) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
    }
    const int got = co_await reactor_.op([&](io_uring_sqe* sqe) {
      io_uring_prep_recvmsg(sqe, fd_.get(), &header, MSG_CMSG_CLOEXEC);
    });
    if (got == -EINTR || got == -EAGAIN) continue;
    if (got <= 0) co_return false;
    if (descriptors != nullptr && !take_descriptors(header, *descriptors)) {
      log_error("{} disconnected: more than {} descriptors in a message", who_, kMaxDescriptors);
      co_return false;
    }
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  co_return true;
}

Task<bool> VhostUserChannel::send(Reply reply, int fd) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  std::span<const std::byte> bytes = reply.bytes();
  while (!bytes.empty()) {
    iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    if (fd >= 0) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      cmsghdr* part = CMSG_FIRSTHDR(&header);
      part->cmsg_level = SOL_SOCKET;
      part->cmsg_type = SCM_RIGHTS;
      part->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(part), &fd, sizeof(int));
    }
    sending_ = true;
    const int sent = co_await reactor_.op(
        [&](io_uring_sqe* sqe) { io_uring_prep_sendmsg(sqe, fd_.get(), &header, MSG_NOSIGNAL); });
    sending_ = false;
    if (sent == -EINTR || sent == -EAGAIN) continue;
    if (sent <= 0) co_return false;
    fd = -1;
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
  co_return true;
}

void VhostUserChannel::end_receiving() { ::shutdown(fd_.get(), sending_ ? SHUT_RDWR : SHUT_RD); }

bool VhostUserChannel::peer_gone() const {
  pollfd peer{fd_.get(), POLLRDHUP, 0};
  return ::poll(&peer, 1, 0) == 1 && (peer.revents & (POLLRDHUP | POLLHUP)) != 0;
}

}  // namespace latte::vhost
