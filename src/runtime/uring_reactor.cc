#include "runtime/uring_reactor.h"

#include <fstream>
#include <span>
#include <string>

#include "base/crc32c.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

namespace latte {
namespace {

// Bounds of one turn, so that messages, timers and completions all get their share.
constexpr size_t kMessagesPerTurn = 64;
constexpr size_t kResumesPerTurn = 256;
/// A turn's part in turn_length().
constexpr TimeNs kTurnLengthPart = 8;
/// Completions the kernel keeps for us before it has to use its slower overflow list.
constexpr uint32_t kMinCompletionEntries = 4096;
constexpr uint32_t kMaxEntries = 32768;
/// How often shutdown() repeats its cancellations, and when it gives up: a drive that has not
/// answered by then still has our memory, so going on is not safe.
constexpr TimeNs kCancelAgainNs = 100 * kMillisecond;
constexpr TimeNs kMaxCancelNs = 60 * kSecond;
constexpr TimeNs kNever = INT64_MAX;

TimeNs read_clock(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<TimeNs>(time.tv_sec) * kSecond + time.tv_nsec;
}

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Errors of io_uring_enter() after which the next turn tries again.
bool passing_error(int result) {
  return result == -EAGAIN || result == -EBUSY || result == -EINTR || result == -ETIME;
}

}  // namespace

Result<std::unique_ptr<UringReactor>> UringReactor::create(Options options) {
  if (options.entries == 0 || options.entries > kMaxEntries)
    return Error{Errc::invalid, fmt::format("{}: {} ring entries; use 1 to {}", options.name,
                                            options.entries, kMaxEntries)};
  if (options.random_seed == 0 &&
      ::getrandom(&options.random_seed, sizeof(options.random_seed), 0) < 0)
    options.random_seed = static_cast<uint64_t>(read_clock(CLOCK_MONOTONIC));
  const int wake_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd < 0)
    return Error{Errc::no_space,
                 fmt::format("{}: no event descriptor ({}); raise the limit of open "
                             "files (ulimit -n)",
                             options.name, std::strerror(errno))};
  std::unique_ptr<UringReactor> reactor(new UringReactor(std::move(options), wake_fd));
  Result<void> made = reactor->init_ring();
  if (!made) return made.error();
  return reactor;
}

UringReactor::UringReactor(Options options, int wake_fd)
    : Reactor(options.random_seed),
      options_(std::move(options)),
      wake_fd_(wake_fd),
      mailbox_(*this, wake_fd),
      idle_(options_.polling) {
  mailbox_watch_.reactor = this;
  mailbox_watch_.complete = &on_mailbox_woken;
}

Result<void> UringReactor::init_ring() {
  // Rings start disabled: the thread that enables them is the one the kernel takes submissions
  // from.
  constexpr uint32_t kAlways = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  constexpr std::array kFlagSets = {
      // 6.1: completions are processed when we ask, not by interrupting the thread.
      kAlways | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
          IORING_SETUP_TASKRUN_FLAG,
      // 5.19
      kAlways | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
      kAlways,
  };
  int result = -EINVAL;
  for (const uint32_t flags : kFlagSets) {
    io_uring_params params{};
    params.flags = flags;
    params.cq_entries = std::max(kMinCompletionEntries, 4 * options_.entries);
    result = io_uring_queue_init_params(options_.entries, &ring_, &params);
    if (result != -EINVAL) {
      cancel_by_fd_ = (flags & IORING_SETUP_DEFER_TASKRUN) != 0;
      break;
    }
  }
  if (result < 0) {
    const bool limits = result == -ENOMEM || result == -EMFILE || result == -ENFILE;
    return Error{
        limits ? Errc::no_space : Errc::unsupported,
        fmt::format("{}: io_uring can't be set up ({}); {}", options_.name, std::strerror(-result),
                    limits ? "raise the limits of locked memory and open files (ulimit -l, -n)"
                           : "allow it (sysctl kernel.io_uring_disabled=0, the container's seccomp "
                             "profile) or use Linux 5.10 or newer")};
  }
  ring_made_ = true;
  return {};
}

UringReactor::~UringReactor() {
  if (ring_made_) {
    if (thread_id_.load() != 0 && !on_reactor_thread()) {
      // Only that thread could wait for operations; a poll on the eventfd has no memory of ours.
      mailbox_watch_.unlink();
      mailbox_watch_.under_way = false;
      LATTE_CHECK(under_way_.empty() && waiting_.empty());
      destroy_tasks();
    } else {
      shutdown();
    }
    io_uring_queue_exit(&ring_);
  }
  ::close(wake_fd_);
}

TimeNs UringReactor::now() const { return read_clock(CLOCK_MONOTONIC); }
TimeNs UringReactor::wall_now() const { return read_clock(CLOCK_REALTIME); }

uint64_t UringReactor::boot_id() const {
  // The kernel draws a new one at every boot; unreadable (a stripped container) counts as unknown.
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string text;
  if (!std::getline(file, text)) return 0;
  const auto bytes = std::as_bytes(std::span(text));
  const uint64_t id = (uint64_t{crc32c(bytes)} << 32) | crc32c(bytes, 1);
  return id == 0 ? 1 : id;
}

bool UringReactor::on_reactor_thread() const {
  return thread_id_.load(std::memory_order_relaxed) == ::gettid();
}

void UringReactor::stop() {
  stop_requested_.store(true, std::memory_order_seq_cst);
  mailbox_.wake();
}

void UringReactor::begin_run() {
  LATTE_CHECK(!running_);
  running_ = true;
  if (thread_id_.load() == 0) {
    thread_id_.store(::gettid());
    // By hand, because liburing 2.3 forgets to export io_uring_enable_rings().
    LATTE_CHECK(::syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS,
                          nullptr, 0) == 0);
  }
  LATTE_CHECK(on_reactor_thread());
  turn_time_ns_ = 0;  // the pause since the last run was no turn
  if (!mailbox_watch_.under_way) watch_mailbox();
}

void UringReactor::run() {
  begin_run();
  bool pausing = false;
  while (!stop_requested_.load(std::memory_order_relaxed)) {
    const bool worked = take_turn();
    if (worked && !pausing) continue;
    const TimeNs time_ns = now();
    if (worked) {
      idle_.end_pause(time_ns, turn_events_);
      pausing = false;
      continue;
    }
    if (!pausing) idle_.begin_pause(time_ns);
    pausing = true;
    if (!idle_.poll_on(time_ns)) {
      sleep_in_kernel();
    } else if (idle_.yields(time_ns)) {
      ++system_calls_;
      std::this_thread::yield();
    } else {
      pause_cpu();
    }
  }
  stop_requested_.store(false);
  running_ = false;
}

bool UringReactor::take_turn() {
  last_turn_ns_ = std::exchange(turn_time_ns_, 0);
  turn_events_ = mailbox_.drain(kMessagesPerTurn);
  if (next_deadline(kNever) != kNever) fire_timers(now());
  const bool ran = run_turn(kResumesPerTurn);
  // One that is going to sleep submits together with that: one system call instead of two.
  if (idle_.polls() || has_ready()) enter_kernel();
  turn_events_ += reap(true);
  return ran || turn_events_ > 0 || has_ready();
}

void UringReactor::begin_turn_time() {
  turn_time_ns_ = now();
  const TimeNs length_ns = last_turn_ns_ == 0 ? 0 : turn_time_ns_ - last_turn_ns_;
  turn_length_ns_ += (length_ns - turn_length_ns_) / kTurnLengthPart;
}

void UringReactor::enter_kernel() {
  submit_waiting();
  int result = 0;
  if (io_uring_sq_ready(&ring_) > 0) {
    ++system_calls_;
    result = io_uring_submit_and_get_events(&ring_);
  } else if (completions_pending()) {
    ++system_calls_;
    result = io_uring_get_events(&ring_);
  }
  LATTE_CHECK(result >= 0 || passing_error(result));
}

bool UringReactor::completions_pending() const {
  const uint32_t flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
  return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

size_t UringReactor::reap(bool deliver) {
  // What completes meanwhile waits for the next turn.
  const unsigned ready = io_uring_cq_ready(&ring_);
  for (unsigned i = 0; i < ready; ++i) {
    io_uring_cqe* cqe = nullptr;
    if (io_uring_peek_cqe(&ring_, &cqe) != 0) return i;
    auto* op = static_cast<UringOp*>(io_uring_cqe_get_data(cqe));
    const int result = cqe->res;
    const uint32_t flags = cqe->flags;
    io_uring_cqe_seen(&ring_, cqe);
    if (op == nullptr) continue;  // the answer to a cancellation
    LATTE_CHECK(op->under_way);
    op->cqe_flags = flags;
    if ((flags & IORING_CQE_F_MORE) == 0) {
      op->unlink();
      op->under_way = false;
      --under_way_count_;
    }
    if (deliver) op->complete(op, result);
  }
  return ready;
}

io_uring_sqe* UringReactor::acquire_entry() {
  if (thread_id_.load(std::memory_order_relaxed) == 0) return nullptr;
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe != nullptr) return sqe;
  ++system_calls_;
  const int result = io_uring_submit(&ring_);
  LATTE_CHECK(result >= 0 || passing_error(result));
  return io_uring_get_sqe(&ring_);
}

void UringReactor::submit_waiting() {
  while (!waiting_.empty()) {
    io_uring_sqe* sqe = acquire_entry();
    if (sqe == nullptr) return;
    UringOp& op = waiting_.pop_front();
    std::memcpy(sqe, &op.parked, sizeof(*sqe));
    under_way_.push_back(op);
  }
}

void UringReactor::sleep_in_kernel() {
  submit_waiting();
  const TimeNs deadline_ns = next_deadline(kNever);
  __kernel_timespec timeout{};
  if (deadline_ns != kNever) {
    const TimeNs wait_ns = std::max<TimeNs>(deadline_ns - now(), 0);
    timeout.tv_sec = wait_ns / kSecond;
    timeout.tv_nsec = wait_ns % kSecond;
  }
  if (!mailbox_.prepare_sleep()) return;
  if (!stop_requested_.load(std::memory_order_seq_cst)) {
    ++system_calls_;
    io_uring_cqe* cqe = nullptr;
    const int result = io_uring_submit_and_wait_timeout(
        &ring_, &cqe, 1, deadline_ns == kNever ? nullptr : &timeout, nullptr);
    LATTE_CHECK(result >= 0 || passing_error(result));
  }
  mailbox_.end_sleep();
}

void UringReactor::watch_mailbox() {
  submit(mailbox_watch_,
         [this](io_uring_sqe* sqe) { io_uring_prep_poll_add(sqe, wake_fd_, POLLIN); });
}

void UringReactor::on_mailbox_woken(UringOp* op, int) {
  UringReactor& reactor = *static_cast<MailboxWatch*>(op)->reactor;
  uint64_t count = 0;
  const ssize_t got = ::read(reactor.wake_fd_, &count, sizeof(count));
  LATTE_CHECK(got == sizeof(count) || errno == EAGAIN || errno == EINTR);
  reactor.watch_mailbox();
}

void UringReactor::cancel_fd(int fd) {
  LATTE_CHECK(fd >= 0);
  io_uring_sqe* sqe = nullptr;
  if (cancel_by_fd_ && waiting_.empty()) sqe = acquire_entry();
  if (sqe == nullptr) {
    ::shutdown(fd, SHUT_RDWR);  // of no effect on anything but sockets
    return;
  }
  io_uring_prep_cancel_fd(sqe, fd, IORING_ASYNC_CANCEL_ALL);
  io_uring_sqe_set_data(sqe, nullptr);
}

void UringReactor::shutdown() {
  LATTE_CHECK(!running_);
  while (!waiting_.empty()) {
    waiting_.pop_front().under_way = false;
    --under_way_count_;
  }
  if (thread_id_.load() != 0) cancel_operations();
  LATTE_CHECK(under_way_.empty());
  destroy_tasks();
}

void UringReactor::cancel_operations() {
  LATTE_CHECK(on_reactor_thread());
  const TimeNs begin_ns = now();
  TimeNs cancel_at_ns = begin_ns;
  while (!under_way_.empty()) {
    const TimeNs time_ns = now();
    LATTE_CHECK(time_ns - begin_ns < kMaxCancelNs);
    if (time_ns >= cancel_at_ns) {
      cancel_at_ns = time_ns + kCancelAgainNs;
      under_way_.for_each([this](UringOp& op) {
        io_uring_sqe* sqe = acquire_entry();
        if (sqe == nullptr) return;  // the completion ring is full; again in the next round
        io_uring_prep_cancel(sqe, &op, 0);
        io_uring_sqe_set_data(sqe, nullptr);
      });
    }
    __kernel_timespec timeout{0, kCancelAgainNs};
    io_uring_cqe* cqe = nullptr;
    const int result = io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &timeout, nullptr);
    LATTE_CHECK(result >= 0 || passing_error(result));
    reap(false);
  }
}

}  // namespace latte
