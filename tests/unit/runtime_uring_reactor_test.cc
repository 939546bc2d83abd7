// UringReactor: timers, operations, batching, cancelling, stopping, and what it costs when idle.
#include "runtime/uring_reactor.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <span>
#include <thread>
#include <vector>

#include "runtime/call_on.h"

namespace latte {
namespace {

std::unique_ptr<UringReactor> make_reactor(UringReactor::Options options = {}) {
  auto made = UringReactor::create(std::move(options));
  EXPECT_TRUE(made.ok()) << made.error().message;
  return made.take();
}

TimeNs cpu_time_ns() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  const auto ns = [](const timeval& t) { return t.tv_sec * kSecond + t.tv_usec * kMicrosecond; };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

struct SocketPair {
  std::array<int, 2> fds{-1, -1};
  SocketPair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds.data()), 0); }
  ~SocketPair() {
    ::close(fds[0]);
    ::close(fds[1]);
  }
};

Task<void> note_after(Reactor* reactor, TimeNs delay_ns, int mark, std::vector<int>* order) {
  co_await reactor->sleep(delay_ns);
  order->push_back(mark);
}

Task<void> sleep_for(Reactor* reactor, TimeNs delay_ns) { co_await reactor->sleep(delay_ns); }

TEST(UringReactor, RefusesSillyOptions) {
  EXPECT_EQ(UringReactor::create({.entries = 0}).error().code, Errc::invalid);
  EXPECT_EQ(UringReactor::create({.entries = 1u << 20}).error().code, Errc::invalid);
}

TEST(UringReactor, TimersFireInOrderAndNotEarly) {
  for (const Polling polling : {Polling::never, Polling::adaptive, Polling::always}) {
    auto reactor = make_reactor({.polling = polling});
    std::vector<int> order;
    reactor->spawn(note_after(reactor.get(), 9 * kMillisecond, 3, &order));
    reactor->spawn(note_after(reactor.get(), 3 * kMillisecond, 1, &order));
    reactor->spawn(note_after(reactor.get(), 6 * kMillisecond, 2, &order));
    const TimeNs begin_ns = reactor->now();
    run_task(*reactor, sleep_for(reactor.get(), 12 * kMillisecond));
    EXPECT_GE(reactor->now() - begin_ns, 12 * kMillisecond);
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  }
}

Task<int> receive(UringReactor* reactor, int fd, std::span<char> into) {
  co_return co_await reactor->op(
      [&](io_uring_sqe* sqe) { io_uring_prep_recv(sqe, fd, into.data(), into.size(), 0); });
}

Task<int> send_all(UringReactor* reactor, int fd, std::span<const char> data) {
  co_return co_await reactor->op(
      [&](io_uring_sqe* sqe) { io_uring_prep_send(sqe, fd, data.data(), data.size(), 0); });
}

Task<void> ping_pong(UringReactor* reactor, int fd, int rounds, bool first, int* done) {
  std::array<char, 8> buffer{};
  for (int i = 0; i < rounds; ++i) {
    if (first) {
      const int sent = co_await send_all(reactor, fd, buffer);
      EXPECT_EQ(sent, 8);
    }
    const int got = co_await receive(reactor, fd, buffer);
    EXPECT_EQ(got, 8);
    if (!first) {
      const int sent = co_await send_all(reactor, fd, buffer);
      EXPECT_EQ(sent, 8);
    }
  }
  if (++*done == 2) reactor->stop();
}

TEST(UringReactor, OperationsCompleteWithTheirResults) {
  for (const Polling polling : {Polling::never, Polling::adaptive, Polling::always}) {
    auto reactor = make_reactor({.polling = polling});
    SocketPair pair;
    int done = 0;
    reactor->spawn(ping_pong(reactor.get(), pair.fds[0], 1000, true, &done));
    reactor->spawn(ping_pong(reactor.get(), pair.fds[1], 1000, false, &done));
    reactor->run();
    EXPECT_EQ(done, 2);
    EXPECT_EQ(reactor->operations_under_way(), 0u);
  }
}

Task<void> one_nop(UringReactor* reactor, int* count, int last) {
  const int result = co_await reactor->op([](io_uring_sqe* sqe) { io_uring_prep_nop(sqe); });
  EXPECT_EQ(result, 0);
  if (++*count == last) reactor->stop();
}

TEST(UringReactor, MoreOperationsThanTheRingHolds) {
  auto reactor = make_reactor({.entries = 8});
  int count = 0;
  constexpr int kOperations = 20000;  // beyond the completion ring as well
  for (int i = 0; i < kOperations; ++i) reactor->spawn(one_nop(reactor.get(), &count, kOperations));
  reactor->run();
  EXPECT_EQ(count, kOperations);
}

struct Counted : UringOp {
  UringReactor* reactor = nullptr;
  int* left = nullptr;
};

TEST(UringReactor, OperationsBeforeRunWaitForIt) {
  auto reactor = make_reactor({.entries = 8});
  std::vector<Counted> ops(100);
  int left = 100;
  for (Counted& op : ops) {
    op.reactor = reactor.get();
    op.left = &left;
    op.complete = [](UringOp* base, int result) {
      auto* self = static_cast<Counted*>(base);
      EXPECT_EQ(result, 0);
      if (--*self->left == 0) self->reactor->stop();
    };
    reactor->submit(op, [](io_uring_sqe* sqe) { io_uring_prep_nop(sqe); });
  }
  EXPECT_EQ(reactor->operations_under_way(), 100u);
  reactor->run();
  EXPECT_EQ(left, 0);
}

TEST(UringReactor, OneTurnIsOneSystemCall) {
  auto reactor = make_reactor();
  run_task(*reactor, sleep_for(reactor.get(), kMicrosecond));
  const uint64_t before = reactor->system_calls();
  int count = 0;
  for (int i = 0; i < 100; ++i) reactor->spawn(one_nop(reactor.get(), &count, 100));
  reactor->run();
  EXPECT_EQ(count, 100);
  EXPECT_LE(reactor->system_calls() - before, 3u);
}

Task<void> expect_cancelled(UringReactor* reactor, int fd, int* ended) {
  std::array<char, 8> buffer{};
  const int got = co_await receive(reactor, fd, buffer);
  EXPECT_TRUE(got == -ECANCELED || got == 0) << got;
  ++*ended;
}

Task<void> cancel_both(UringReactor* reactor, int fd, int* ended) {
  co_await reactor->sleep(kMillisecond);
  EXPECT_EQ(*ended, 0);
  reactor->cancel_fd(fd);
  co_await reactor->sleep(20 * kMillisecond);
}

TEST(UringReactor, CancelFdEndsEveryWaitOnIt) {
  auto reactor = make_reactor();
  SocketPair pair;
  SocketPair other;
  int ended = 0;
  int other_ended = 0;
  reactor->spawn(expect_cancelled(reactor.get(), pair.fds[0], &ended));
  reactor->spawn(expect_cancelled(reactor.get(), pair.fds[0], &ended));
  reactor->spawn(expect_cancelled(reactor.get(), other.fds[0], &other_ended));
  run_task(*reactor, cancel_both(reactor.get(), pair.fds[0], &ended));
  EXPECT_EQ(ended, 2);
  EXPECT_EQ(other_ended, 0);
  reactor->shutdown();
}

TEST(UringReactor, ShutdownTakesBackMemoryFromTheKernel) {
  auto reactor = make_reactor();
  SocketPair pair;
  int ended = 0;
  for (int i = 0; i < 2000; ++i)
    reactor->spawn(expect_cancelled(reactor.get(), pair.fds[0], &ended));
  run_task(*reactor, sleep_for(reactor.get(), kMillisecond));
  EXPECT_EQ(reactor->operations_under_way(), 2000u);
  reactor->shutdown();
  EXPECT_EQ(reactor->operations_under_way(), 0u);
  EXPECT_EQ(reactor->task_count(), 0u);
  EXPECT_EQ(ended, 0);
  // And it can be used again.
  run_task(*reactor, sleep_for(reactor.get(), kMillisecond));
}

TEST(UringReactor, IdleCostsNoCpu) {
  auto reactor = make_reactor();
  SocketPair pair;
  int ended = 0;
  reactor->spawn(expect_cancelled(reactor.get(), pair.fds[0], &ended));
  run_task(*reactor, sleep_for(reactor.get(), kMillisecond));
  const TimeNs before_ns = cpu_time_ns();
  run_task(*reactor, sleep_for(reactor.get(), kSecond));
  EXPECT_LT(cpu_time_ns() - before_ns, 5 * kMillisecond);
  reactor->shutdown();
}

TEST(UringReactor, StopsFromAnotherThread) {
  for (int round = 0; round < 200; ++round) {
    auto reactor =
        make_reactor({.entries = 8, .polling = round % 2 == 0 ? Polling::never : Polling::always});
    std::thread thread([&] { reactor->run(); });
    if (round % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(100 + round));
    reactor->stop();
    thread.join();
  }
}

TEST(UringReactor, ClocksAreMonotonicAndWall) {
  auto reactor = make_reactor();
  const TimeNs first = reactor->now();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  const TimeNs second = reactor->now();
  EXPECT_GE(second - first, 2 * kMillisecond);
  EXPECT_LT(second - first, kSecond);
  EXPECT_GT(reactor->wall_now(), 1'600'000'000 * kSecond);
}

/// Busy for `busy_ns` in each of so many turns, with pauses in between.
Task<void> take_turns(UringReactor* reactor, int turns, TimeNs busy_ns, TimeNs pause_ns) {
  for (int i = 0; i < turns; ++i) {
    const TimeNs begin_ns = reactor->turn_time();
    while (reactor->now() - begin_ns < busy_ns) {
    }
    co_await reactor->sleep(pause_ns);
  }
}

TEST(UringReactor, TurnsAreAsLongAsTheyTakeAndPausesAreNot) {
  const auto reactor = make_reactor();
  EXPECT_EQ(reactor->turn_length(), 0);
  run_task(*reactor, take_turns(reactor.get(), 100, kMillisecond, 1));
  EXPECT_GT(reactor->turn_length(), 800 * kMicrosecond);
  run_task(*reactor, take_turns(reactor.get(), 60, 0, kMillisecond));
  EXPECT_LT(reactor->turn_length(), 500 * kMicrosecond);
}

}  // namespace
}  // namespace latte
