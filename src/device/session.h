// Session: one connection to a block service that can break at any time, as a network connection
// does. SessionDevice makes a BlockDevice of several. Implementations: NbdLink on libnbd, and the
// simulator's.
//
// Thread rule: one reactor.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>

#include "base/intrusive_list.h"
#include "base/result.h"
#include "runtime/block_device.h"
#include "runtime/task.h"

namespace latte {

/// What the service said of itself when a session was opened.
struct SessionFacts {
  uint64_t size_bytes = 0;
  uint32_t alignment_bytes = 1;    ///< of offsets and lengths
  uint64_t max_request_bytes = 0;  ///< of a read or write
  bool can_fua = false;
  bool can_zero = false;   ///< write_zeroes without sending them
  bool can_share = false;  ///< a flush covers what other sessions wrote, and all see the same
  bool read_only = false;
};

/// One request on its way through one session. Owned by the submitter, alive until `waiter` was
/// scheduled. `data` is one piece of memory.
struct SessionCommand : ListNode {
  enum class End : uint8_t {
    pending,
    ok,
    failed,    ///< the service answered with an error
    no_space,  ///< likewise
    lost,      ///< the session broke before the answer: it happened, will happen, or never does
  };
  IoOp op = IoOp::read;  ///< discard is not sent: it does not promise zeroes
  bool fua = false;
  uint64_t offset = 0;
  uint64_t length = 0;
  std::byte* data = nullptr;
  End end = End::pending;
  std::coroutine_handle<> waiter;
};

class SessionObserver {
 public:
  /// The session broke. Called before the waiters of its commands are scheduled.
  virtual void on_session_lost() = 0;

 protected:
  ~SessionObserver() = default;
};

class Session {
 public:
  virtual ~Session() = default;
  virtual void observe(SessionObserver& observer) = 0;
  /// One attempt to connect, bounded in time. REQUIRES !up(). Errors: io, invalid (the service
  /// refuses what it was asked for), not_found (no such export), unsupported.
  virtual Task<Result<SessionFacts>> connect() = 0;
  virtual bool up() const = 0;
  /// Number of losses so far: commands sent at another count went through another connection.
  virtual uint64_t losses() const = 0;
  virtual size_t under_way() const = 0;
  /// Sends; never completes inside the call. REQUIRES up().
  virtual void send(SessionCommand& command) = 0;
  /// Breaks the connection, as if the service had.
  virtual void drop() = 0;
  /// Nothing of it is with the kernel: it may be destroyed.
  virtual bool idle() const = 0;

  /// `End e = co_await session.run(command)`
  struct Run {
    Session& session;
    SessionCommand& command;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      command.waiter = waiter;
      session.send(command);
    }
    SessionCommand::End await_resume() const { return command.end; }
  };
  Run run(SessionCommand& command) { return Run{*this, command}; }
};

}  // namespace latte
