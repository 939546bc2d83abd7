// Mailbox and call_on: messages from many threads, in order, none lost beside a sleeping reactor.
#include "runtime/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "runtime/call_on.h"

namespace latte {
namespace {

struct Running {
  explicit Running(Polling polling) {
    auto made = UringReactor::create({.polling = polling});
    EXPECT_TRUE(made.ok());
    reactor = made.take();
    thread = std::thread([this] {
      reactor->run();
      reactor->shutdown();
    });
  }
  ~Running() {
    reactor->stop();
    thread.join();
  }
  std::unique_ptr<UringReactor> reactor;
  std::thread thread;
};

struct Counter {
  uint64_t next_expected = 0;
  bool in_order = true;
};
struct Numbered {
  Counter* counter;
  uint64_t number;
};

TEST(Mailbox, KeepsTheOrderOfEachWriter) {
  for (const Polling polling : {Polling::never, Polling::adaptive, Polling::always}) {
    constexpr uint64_t kWriters = 4;
    constexpr uint64_t kMessages = 5000;
    std::vector<Counter> counters(kWriters);
    {
      Running running(polling);
      std::vector<std::vector<Numbered>> numbered(kWriters);
      std::vector<std::thread> writers;
      for (uint64_t w = 0; w < kWriters; ++w) {
        for (uint64_t i = 0; i < kMessages; ++i) numbered[w].push_back({&counters[w], i});
        writers.emplace_back([&running, &mine = numbered[w]] {
          for (Numbered& item : mine) {
            const Message message{[](Reactor&, void* context) {
                                    auto* it = static_cast<Numbered*>(context);
                                    Counter& counter = *it->counter;
                                    counter.in_order &= counter.next_expected == it->number;
                                    counter.next_expected = it->number + 1;
                                  },
                                  &item};
            while (!running.reactor->mailbox().post(message)) std::this_thread::yield();
          }
        });
      }
      for (std::thread& writer : writers) writer.join();
      call_on(*running.reactor, [] {});  // everything posted before has run
    }
    for (const Counter& counter : counters) {
      EXPECT_TRUE(counter.in_order);
      EXPECT_EQ(counter.next_expected, kMessages);
    }
  }
}

TEST(Mailbox, RefusesWhenFull) {
  auto made = UringReactor::create({});
  ASSERT_TRUE(made.ok());
  auto reactor = made.take();
  size_t ran = 0;
  const Message message{[](Reactor&, void* context) { ++*static_cast<size_t*>(context); }, &ran};
  for (size_t i = 0; i < Mailbox::kCapacity; ++i) ASSERT_TRUE(reactor->mailbox().post(message));
  EXPECT_FALSE(reactor->mailbox().post(message));
  EXPECT_EQ(reactor->mailbox().drain(10), 10u);
  EXPECT_TRUE(reactor->mailbox().post(message));
  EXPECT_EQ(reactor->mailbox().drain(2 * Mailbox::kCapacity), Mailbox::kCapacity - 9);
  EXPECT_EQ(ran, Mailbox::kCapacity + 1);
  EXPECT_TRUE(reactor->mailbox().empty());
}

TEST(Mailbox, WakesASleepingReactorEveryTime) {
  Running running(Polling::never);
  for (int i = 0; i < 3000; ++i) {
    const int got = call_on(*running.reactor, [i] { return i + 1; });
    ASSERT_EQ(got, i + 1);
  }
}

Task<std::string> slow_name(Reactor* reactor) {
  co_await reactor->sleep(2 * kMillisecond);
  co_return "named";
}

Task<void> nothing(Reactor* reactor) { co_await reactor->yield(); }

TEST(Mailbox, CallOnRunsTasks) {
  Running running(Polling::adaptive);
  UringReactor* reactor = running.reactor.get();
  EXPECT_EQ(call_on(*reactor, [reactor] { return slow_name(reactor); }), "named");
  call_on(*reactor, [reactor] { return nothing(reactor); });
  EXPECT_TRUE(call_on(*reactor, [reactor] { return reactor->on_reactor_thread(); }));
  EXPECT_FALSE(reactor->on_reactor_thread());
}

}  // namespace
}  // namespace latte
