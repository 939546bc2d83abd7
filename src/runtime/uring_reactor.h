// UringReactor: the real reactor: one thread, one io_uring, timers, a mailbox. Without work it
// polls or sleeps in the kernel, as IdlePolicy says.
//
// A turn: messages, due timers, everything ready, turn hooks, then one io_uring_enter() that
// submits all that the turn prepared and collects what completed; when nothing is left to do, the
// same call waits for the next completion.
//
// Invariants:
//  1. An operation's memory (its UringOp and the buffers it names) lives until `complete` was
//     called or shutdown() returned; destroying a UringOp that is under way is a programmer's
//     error.
//  2. Completions are never delivered from inside submit(): always from the loop.
//  3. The kernel sees the ring from one thread only: the first that calls run(). Operations
//     submitted before that wait for it.
// Thread rule: create() anywhere; run() always on the same thread; stop(), mailbox() and
// on_reactor_thread() on any thread; everything else on the reactor's thread.
// Limits: any number of operations under way; those beyond the submission ring wait in order.
#pragma once

#include <liburing.h>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "base/intrusive_list.h"
#include "base/result.h"
#include "runtime/idle_policy.h"
#include "runtime/mailbox.h"
#include "runtime/reactor.h"
#include "runtime/work_share.h"

namespace latte {

/// One io_uring operation, owned by its submitter. `complete` is called on the reactor with the
/// result (as the system call: >= 0, or a negative errno; -ECANCELED after cancel_fd()).
struct UringOp : ListNode {
  void (*complete)(UringOp* op, int result) = nullptr;
  uint32_t cqe_flags = 0;  ///< of the latest completion; IORING_CQE_F_MORE: another one follows
  bool under_way = false;  ///< the reactor's
  io_uring_sqe parked{};   ///< the reactor's: the operation while it waits for room in the ring

  ~UringOp() { LATTE_CHECK(!under_way); }
};

class UringReactor final : public Reactor {
 public:
  struct Options {
    uint32_t entries = 512;    ///< submission ring, 1 to 32768; rounded up to a power of two
    uint64_t random_seed = 0;  ///< 0: from the kernel
    Polling polling = Polling::adaptive;  ///< what to do without work; see IdlePolicy
    std::string name = "reactor";         ///< for errors
  };

  /// Errors: unsupported (no io_uring, or it is forbidden), no_space (limits of memory or
  /// descriptors).
  static Result<std::unique_ptr<UringReactor>> create(Options options);
  /// Calls shutdown(); on another thread than run()'s, operations must have ended before.
  ~UringReactor() override;

  TimeNs now() const override;
  TimeNs turn_time() override {
    if (turn_time_ns_ == 0) begin_turn_time();
    return turn_time_ns_;
  }
  /// Of turns that turn_time() was asked for in.
  TimeNs turn_length() override { return turn_length_ns_; }
  TimeNs wall_now() const override;
  uint64_t boot_id() const override;

  /// Runs until stop(). May be called again afterwards. A stop() before run() ends it at once.
  void run();
  /// Ends run() soon. Any thread, and signal handlers.
  void stop();
  /// Cancels all operations, waits until the kernel has let go of their memory (their `complete` is
  /// not called and their coroutines are not resumed), then destroys all root tasks.
  void shutdown();

  Mailbox& mailbox() { return mailbox_; }
  /// Among those whose requests go through this reactor to one drive.
  WorkShare& work_share() { return work_share_; }
  /// True on the thread that runs this reactor.
  bool on_reactor_thread() const;
  /// Operations submitted and not completed, the reactor's own apart.
  uint64_t operations_under_way() const {
    return under_way_count_ - (mailbox_watch_.under_way ? 1 : 0);
  }
  /// io_uring_enter() calls so far, to measure batching.
  uint64_t system_calls() const { return system_calls_; }
  /// Operations submitted so far.
  uint64_t operations() const { return operations_; }

  /// Submits an operation: `prepare(io_uring_sqe*)` fills the entry with one io_uring_prep_*() and
  /// is called now, before this returns. It goes to the kernel at the end of the turn.
  template <typename Prepare>
  void submit(UringOp& op, Prepare&& prepare) {
    LATTE_CHECK(op.complete != nullptr);
    LATTE_CHECK(!op.under_way);
    op.under_way = true;
    ++under_way_count_;
    ++operations_;
    io_uring_sqe* sqe = waiting_.empty() ? acquire_entry() : nullptr;
    if (sqe == nullptr) {
      sqe = &op.parked;
      waiting_.push_back(op);
    } else {
      under_way_.push_back(op);
    }
    std::memset(sqe, 0, sizeof(*sqe));
    prepare(sqe);
    io_uring_sqe_set_data(sqe, &op);
  }

  template <typename Prepare>
  struct OpAwaiter : UringOp {
    OpAwaiter(UringReactor& owner, Prepare preparation)
        : reactor(owner), prepare(std::move(preparation)) {}
    UringReactor& reactor;
    Prepare prepare;
    std::coroutine_handle<> waiter;
    int result = 0;

    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      waiter = handle;
      complete = [](UringOp* op, int res) {
        auto* self = static_cast<OpAwaiter*>(op);
        self->result = res;
        self->reactor.schedule(self->waiter);
      };
      reactor.submit(*this, prepare);
    }
    int await_resume() const { return result; }
  };
  /// `int res = co_await reactor.op([&](io_uring_sqe* sqe) { io_uring_prep_recv(sqe, ...); });`
  /// No allocation. Await it directly. Not for multishot operations.
  template <typename Prepare>
  OpAwaiter<Prepare> op(Prepare prepare) {
    return OpAwaiter<Prepare>(*this, std::move(prepare));
  }

  /// Ends everything that waits on `fd` (recv, accept, poll) with -ECANCELED, what was submitted
  /// earlier in this turn included. Where the kernel can't, the socket is shut down instead (0
  /// bytes, or an error). Close `fd` only after its operations have ended.
  void cancel_fd(int fd);

 private:
  UringReactor(Options options, int wake_fd);
  Result<void> init_ring();
  io_uring_sqe* acquire_entry();
  void submit_waiting();
  void enter_kernel();
  bool completions_pending() const;
  size_t reap(bool deliver);
  void watch_mailbox();
  bool take_turn();
  void begin_turn_time();
  void sleep_in_kernel();
  void begin_run();
  void cancel_operations();
  static void on_mailbox_woken(UringOp* op, int result);

  const Options options_;
  const int wake_fd_;
  Mailbox mailbox_;
  io_uring ring_{};
  bool ring_made_ = false;
  bool cancel_by_fd_ = false;
  bool running_ = false;
  IdlePolicy idle_;
  size_t turn_events_ = 0;         // messages and completions of the latest turn
  std::atomic<int> thread_id_{0};  // of the thread that called run(), 0 before
  std::atomic<bool> stop_requested_{false};
  IntrusiveList<UringOp> under_way_;  // in the submission ring or in the kernel
  IntrusiveList<UringOp> waiting_;    // parked: no room in the submission ring
  uint64_t under_way_count_ = 0;
  WorkShare work_share_;
  uint64_t system_calls_ = 0;
  uint64_t operations_ = 0;
  TimeNs turn_time_ns_ = 0;  // 0: not asked for in this turn
  TimeNs last_turn_ns_ = 0;  // the same of the turn before
  TimeNs turn_length_ns_ = 0;
  struct MailboxWatch : UringOp {
    UringReactor* reactor = nullptr;
  };
  MailboxWatch mailbox_watch_;
};

}  // namespace latte
