#include "device/nbd_link.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "device/nbd_handle.h"

namespace latte {
namespace {

/// A peer that is silent for so long on the network's level counts as gone.
constexpr int kDeadPeerMs = 15'000;
constexpr int kKeepAliveIdleS = 5;
constexpr int kKeepAliveStepS = 5;
constexpr int kKeepAliveTries = 2;

uint64_t inode_of(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 ? info.st_ino : 0;
}

void bound_silence(int fd) {
  const int on = 1;
  // Refused for a unix socket, which needs none of it.
  (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kDeadPeerMs, sizeof(kDeadPeerMs));
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepAliveIdleS, sizeof(kKeepAliveIdleS));
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepAliveStepS, sizeof(kKeepAliveStepS));
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kKeepAliveTries, sizeof(kKeepAliveTries));
}

}  // namespace

NbdLink::NbdLink(UringReactor& reactor, const NbdAddress& address, std::string export_name)
    : reactor_(reactor), address_(address), export_name_(std::move(export_name)) {}

NbdLink::~NbdLink() { close_handle(); }

void NbdLink::close_handle() {
  if (handle_ != nullptr) nbd_close(handle_);
  handle_ = nullptr;
}

Error NbdLink::nbd_error(const char* what) const {
  const char* text = nbd_get_error();
  const int code = nbd_get_errno();
  const Errc kind = code == ENOENT || code == ENOTSUP ? Errc::not_found : Errc::io;
  return Error{kind, fmt::format("cannot {} ({}); is the server up, and does it have the export?",
                                 what, text != nullptr ? text : "libnbd gives no reason")};
}

/// Starts connecting with a new handle.
Result<void> NbdLink::begin() {
  LATTE_CHECK(handle_ == nullptr && commands_.empty());
  handle_ = nbd_create();
  if (handle_ == nullptr) return nbd_error("make an NBD handle");
  const bool set = set_up_nbd_handle(handle_, address_, export_name_);
  if (!set) return nbd_error("set up the connection");
  // The buffers are the engine's, filled or checked; clearing them first would cost a pass.
  (void)nbd_set_pread_initialize(handle_, false);
  const int begun = address_.socket.empty()
                        ? nbd_aio_connect_tcp(handle_, address_.host.c_str(),
                                              std::to_string(address_.port).c_str())
                        : nbd_aio_connect_unix(handle_, address_.socket.c_str());
  if (begun != 0) return nbd_error("connect");
  return {};
}

/// Resumes when libnbd has got further, or at the limit.
struct NbdLink::Moved {
  NbdLink& link;
  TimeNs limit_ns;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    link.connect_waiter_ = waiter;
    link.reactor_.arm_timer(link.connect_limit_, limit_ns, waiter);
  }
  void await_resume() { link.connect_waiter_ = nullptr; }
};

void NbdLink::wake_connect() {
  // A timer that has fired has scheduled the waiter already.
  if (!connect_waiter_ || !connect_limit_.armed()) return;
  connect_limit_.cancel();
  reactor_.schedule(connect_waiter_);
}

Task<Result<SessionFacts>> NbdLink::connect() {
  LATTE_CHECK(!up_ && !connecting_);
  connecting_ = true;
  Result<void> begun = begin();
  if (begun) follow_socket();
  const TimeNs limit_ns = reactor_.now() + kConnectNs;
  const auto going_on = [&] {
    return begun && handle_ != nullptr && nbd_aio_is_ready(handle_) != 1 &&
           nbd_aio_is_dead(handle_) != 1 && nbd_aio_is_closed(handle_) != 1;
  };
  while (going_on()) {
    if (reactor_.now() >= limit_ns) {
      begun = Error{Errc::io, fmt::format("no answer within {} s; is this an NBD server?",
                                          kConnectNs / kSecond)};
      break;
    }
    co_await Moved{*this, limit_ns};
  }
  connecting_ = false;
  if (begun && handle_ == nullptr) begun = Error{Errc::io, "the connection was given up"};
  if (begun && nbd_aio_is_ready(handle_) != 1) begun = nbd_error("connect");
  Result<SessionFacts> facts = begun ? read_facts() : Result<SessionFacts>(begun.error());
  if (facts) {
    up_ = true;
    co_return facts;
  }
  retire_watch();
  close_handle();
  co_return facts;
}

/// What the server said in the handshake. None of it is used unchecked (SessionDevice::accept()).
Result<SessionFacts> NbdLink::read_facts() {
  SessionFacts facts;
  const int64_t size = nbd_get_size(handle_);
  const int64_t least = nbd_get_block_size(handle_, LIBNBD_SIZE_MINIMUM);
  const int64_t most = nbd_get_block_size(handle_, LIBNBD_SIZE_MAXIMUM);
  if (size < 0) return nbd_error("get the export's size");
  if (nbd_can_flush(handle_) != 1)
    return Error{Errc::unsupported,
                 "the server has no flush: nothing on it could be made durable; use one that has"};
  facts.size_bytes = static_cast<uint64_t>(size);
  facts.alignment_bytes =
      least > 0 ? static_cast<uint32_t>(std::min<int64_t>(least, INT32_MAX)) : 1;
  facts.max_request_bytes = most > 0 ? static_cast<uint64_t>(most) : 0;
  facts.can_fua = nbd_can_fua(handle_) == 1;
  facts.can_zero = nbd_can_zero(handle_) == 1;
  facts.can_share = nbd_can_multi_conn(handle_) == 1;
  facts.read_only = nbd_is_read_only(handle_) == 1;
  return facts;
}

/// Watches the socket that libnbd has now; it may try several addresses one after the other.
void NbdLink::follow_socket() {
  const int fd = nbd_aio_get_fd(handle_);
  if (fd < 0) return;
  const uint64_t inode = inode_of(fd);
  if (watch_ != nullptr && watch_->inode == inode) return;
  retire_watch();
  watch_ = std::make_unique<Watch>();
  watch_->fd = UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  watch_->inode = inode;
  for (PollOp* op : {&watch_->readable, &watch_->writable}) {
    op->complete = &on_poll;
    op->link = this;
    op->watch = watch_.get();
  }
  if (address_.socket.empty()) bound_silence(watch_->fd.get());
  poll_more();
}

void NbdLink::retire_watch() {
  std::erase_if(retired_, [](const auto& watch) { return watch->idle(); });
  if (watch_ == nullptr) return;
  if (!watch_->idle()) reactor_.cancel_fd(watch_->fd.get());
  retired_.push_back(std::move(watch_));
}

void NbdLink::poll(PollOp& op, short events) {
  if (op.under_way) return;
  const int fd = watch_->fd.get();
  reactor_.submit(op, [=](io_uring_sqe* sqe) {
    io_uring_prep_poll_add(sqe, fd, static_cast<unsigned>(events));
  });
}

void NbdLink::poll_more() {
  if (handle_ == nullptr || watch_ == nullptr || !watch_->fd.valid()) return;
  const unsigned direction = nbd_aio_get_direction(handle_);
  if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0) poll(watch_->readable, POLLIN);
  if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) poll(watch_->writable, POLLOUT);
}

/// Lets libnbd read. If there turns out to be nothing - a poll may say otherwise - libnbd 1.14
/// stays at the start of a reply, and sends nothing that is asked of it until one comes; with
/// nothing under way none ever comes. Reading again makes it ready.
void NbdLink::read_replies() {
  (void)nbd_aio_notify_read(handle_);
  if (up_ && nbd_aio_is_processing(handle_) == 1 &&
      nbd_aio_get_direction(handle_) == LIBNBD_AIO_DIRECTION_READ)
    (void)nbd_aio_notify_read(handle_);
}

void NbdLink::on_poll(UringOp* op, int result) {
  auto* polled = static_cast<PollOp*>(op);
  NbdLink& link = *polled->link;
  if (polled->watch != link.watch_.get() || link.handle_ == nullptr) {
    std::erase_if(link.retired_, [](const auto& watch) { return watch->idle(); });
    return;
  }
  const bool reading = polled == &link.watch_->readable;
  const unsigned direction = nbd_aio_get_direction(link.handle_);
  // An error or hang-up wakes both; libnbd learns of it by reading or writing.
  if (result > 0 && reading && (direction & LIBNBD_AIO_DIRECTION_READ) != 0)
    link.read_replies();
  else if (result > 0 && !reading && (direction & LIBNBD_AIO_DIRECTION_WRITE) != 0)
    (void)nbd_aio_notify_write(link.handle_);
  link.after_call();
}

/// Called by libnbd inside one of its own functions: nothing of it may be called here.
int NbdLink::on_done(void* user_data, int* error) {
  auto* command = static_cast<SessionCommand*>(user_data);
  command->end = *error == 0        ? SessionCommand::End::ok
                 : *error == ENOSPC ? SessionCommand::End::no_space
                                    : SessionCommand::End::failed;
  return 1;  // libnbd forgets it
}

/// Tells who waits for what libnbd finished, and notices the connection's end.
void NbdLink::after_call() {
  if (handle_ == nullptr) return;
  if (connecting_) {
    if (nbd_aio_is_connecting(handle_) == 1) follow_socket();
    wake_connect();
    poll_more();
    return;
  }
  const bool dead = nbd_aio_is_dead(handle_) == 1 || nbd_aio_is_closed(handle_) == 1;
  commands_.for_each([&](SessionCommand& command) {
    // At the end libnbd reports what was under way as failed: it is lost.
    if (command.end == SessionCommand::End::pending) return;
    if (dead && command.end != SessionCommand::End::ok) return;
    command.unlink();
    --under_way_;
    reactor_.schedule(command.waiter);
  });
  if (dead)
    lose();
  else
    poll_more();
}

void NbdLink::send(SessionCommand& command) {
  LATTE_CHECK(up_ && command.op != IoOp::discard);
  command.end = SessionCommand::End::pending;
  commands_.push_back(command);
  ++under_way_;
  const nbd_completion_callback done{&on_done, &command, nullptr};
  const uint32_t fua = command.fua ? LIBNBD_CMD_FLAG_FUA : 0;
  int64_t cookie = -1;
  switch (command.op) {
    case IoOp::read:
      cookie = nbd_aio_pread(handle_, command.data, command.length, command.offset, done, 0);
      break;
    case IoOp::write:
      cookie = nbd_aio_pwrite(handle_, command.data, command.length, command.offset, done, fua);
      break;
    case IoOp::flush:
      cookie = nbd_aio_flush(handle_, done, 0);
      break;
    case IoOp::write_zeroes:
      cookie = nbd_aio_zero(handle_, command.length, command.offset, done, fua);
      break;
    case IoOp::discard:
      break;
  }
  // Refused by libnbd itself, or the connection turns out to be gone.
  if (cookie < 0 && command.end == SessionCommand::End::pending)
    command.end = SessionCommand::End::failed;
  after_call();
}

void NbdLink::lose() {
  const bool was_up = std::exchange(up_, false);
  retire_watch();
  close_handle();
  wake_connect();
  if (!was_up) return;
  ++losses_;
  if (observer_ != nullptr) observer_->on_session_lost();
  while (!commands_.empty()) {
    SessionCommand& command = commands_.pop_front();
    command.end = SessionCommand::End::lost;
    reactor_.schedule(command.waiter);
  }
  under_way_ = 0;
}

bool NbdLink::idle() const {
  return watch_ == nullptr && std::all_of(retired_.begin(), retired_.end(),
                                          [](const auto& watch) { return watch->idle(); });
}

void NbdLink::drop() {
  if (handle_ != nullptr) lose();
}

}  // namespace latte
