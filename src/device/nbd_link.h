// NbdLink: a session with an export of an NBD server, on libnbd's asynchronous API: the reactor
// polls the socket, libnbd does the rest inside the calls that the polls lead to. No thread.
//
// libnbd parses what the server sends; this class believes nothing of it that it can check.
//
// Thread rule: one reactor. Destroy it after close(), or after UringReactor::shutdown().
// Limits: an attempt to connect takes kConnectNs at most. libnbd looks host names up inside the
// call that connects, which then blocks the reactor: use addresses, or names in /etc/hosts.
#pragma once

#include <libnbd.h>

#include <memory>
#include <string>
#include <vector>

#include "base/intrusive_list.h"
#include "device/nbd_address.h"
#include "device/session.h"
#include "device/unique_fd.h"
#include "runtime/uring_reactor.h"

namespace latte {

class NbdLink final : public Session {
 public:
  static constexpr TimeNs kConnectNs = 10 * kSecond;

  /// `address` outlives this.
  NbdLink(UringReactor& reactor, const NbdAddress& address, std::string export_name);
  ~NbdLink() override;

  void observe(SessionObserver& observer) override { observer_ = &observer; }
  Task<Result<SessionFacts>> connect() override;
  bool up() const override { return up_; }
  uint64_t losses() const override { return losses_; }
  size_t under_way() const override { return under_way_; }
  void send(SessionCommand& command) override;
  void drop() override;
  bool idle() const override;

 private:
  struct Watch;
  struct PollOp : UringOp {
    NbdLink* link = nullptr;
    Watch* watch = nullptr;
  };
  /// One socket of libnbd's, through a descriptor of our own, so that the polls' descriptor lives
  /// until they have ended whatever libnbd does with its own.
  struct Watch {
    UniqueFd fd;
    uint64_t inode = 0;
    PollOp readable;
    PollOp writable;
    bool idle() const { return !readable.under_way && !writable.under_way; }
  };

  Result<void> begin();
  Result<SessionFacts> read_facts();
  Error nbd_error(const char* what) const;
  void follow_socket();
  void retire_watch();
  void poll_more();
  void poll(PollOp& op, short events);
  void read_replies();
  void after_call();
  void lose();
  void close_handle();
  struct Moved;
  void wake_connect();
  static void on_poll(UringOp* op, int result);
  static int on_done(void* user_data, int* error);

  UringReactor& reactor_;
  const NbdAddress& address_;
  const std::string export_name_;
  SessionObserver* observer_ = nullptr;
  nbd_handle* handle_ = nullptr;
  bool up_ = false;
  bool connecting_ = false;
  uint64_t losses_ = 0;
  size_t under_way_ = 0;
  IntrusiveList<SessionCommand> commands_;  // with libnbd
  std::unique_ptr<Watch> watch_;
  std::vector<std::unique_ptr<Watch>> retired_;
  std::coroutine_handle<> connect_waiter_;
  Timer connect_limit_;
};

}  // namespace latte
