// ThrottledDevice: rates, sharing, order, and that flushes pass.
#include "device/throttled_device.h"

#include <algorithm>
#include <vector>

#include "device/memory_device.h"
#include "device_test_support.h"

namespace latte {
namespace {

using test::make_reactor;

struct Load {
  UringReactor* reactor;
  TimeNs until_ns;
  uint64_t bytes = 0;
  uint64_t requests = 0;
  int running = 0;
  std::vector<TimeNs> done_at_ns{};
};

Task<void> read_until(Load* load, BlockDevice* device, uint64_t length) {
  Buffer buffer(length);
  while (load->reactor->now() < load->until_ns) {
    const IoStatus status = co_await device->read(0, buffer.span());
    EXPECT_EQ(status, IoStatus::ok);
    load->bytes += length;
    ++load->requests;
    load->done_at_ns.push_back(load->reactor->now());
  }
  if (--load->running == 0) load->reactor->stop();
}

/// Runs `depth` readers on each device for `time_ns`; returns what they did.
Load run_load(UringReactor& reactor, std::vector<BlockDevice*> devices, int depth, uint64_t length,
              TimeNs time_ns) {
  Load load{&reactor, reactor.now() + time_ns};
  for (BlockDevice* device : devices) {
    for (int i = 0; i < depth; ++i) {
      ++load.running;
      reactor.spawn(read_until(&load, device, length));
    }
  }
  reactor.run();
  return load;
}

TEST(Throttle, HoldsTheBandwidth) {
  auto reactor = make_reactor();
  MemoryDevice memory(1u << 20);
  auto throttle = Throttle::create(*reactor, {.bytes_per_second = 100'000'000});
  ThrottledDevice device(*reactor, memory, throttle);
  const Load load = run_load(*reactor, {&device}, 8, 64u << 10, 500 * kMillisecond);
  // Half a second's worth, the burst, and a round of readers that finish after the end.
  EXPECT_GT(load.bytes, 50'000'000u);
  EXPECT_LT(load.bytes, 57'500'000u);
  // Smooth: no gap much longer than the 0.66 ms between requests (scheduling noise allowed for).
  TimeNs longest = 0;
  for (size_t i = 1; i < load.done_at_ns.size(); ++i)
    longest = std::max(longest, load.done_at_ns[i] - load.done_at_ns[i - 1]);
  EXPECT_LT(longest, 40 * kMillisecond);
}

TEST(Throttle, HoldsTheRequestRate) {
  auto reactor = make_reactor();
  MemoryDevice memory(1u << 20);
  auto throttle = Throttle::create(*reactor, {.requests_per_second = 5000});
  ThrottledDevice device(*reactor, memory, throttle);
  const Load load = run_load(*reactor, {&device}, 4, 4096, 500 * kMillisecond);
  EXPECT_GT(load.requests, 2500u);
  EXPECT_LT(load.requests, 2800u);
}

TEST(Throttle, IsSharedFairly) {
  auto reactor = make_reactor();
  MemoryDevice memory(1u << 20);
  auto throttle =
      Throttle::create(*reactor, {.bytes_per_second = 40'000'000, .requests_per_second = 100'000});
  ThrottledDevice base(*reactor, memory, throttle);
  ThrottledDevice log(*reactor, memory, throttle);
  const Load load = run_load(*reactor, {&base, &log}, 4, 16u << 10, 500 * kMillisecond);
  EXPECT_GT(load.bytes, 20'000'000u);
  EXPECT_LT(load.bytes, 23'500'000u);
}

TEST(Throttle, FlushesPassAndLargeRequestsPayAfterwards) {
  auto reactor = make_reactor();
  MemoryDevice memory(8u << 20);
  auto throttle = Throttle::create(*reactor, {.bytes_per_second = 40'000'000});
  ThrottledDevice device(*reactor, memory, throttle);
  Buffer large(4u << 20);  // 100 ms worth
  const TimeNs begin_ns = reactor->now();
  EXPECT_EQ(test::read(*reactor, device, 0, large.span()), IoStatus::ok);
  EXPECT_EQ(test::flush(*reactor, device), IoStatus::ok);
  EXPECT_LT(reactor->now() - begin_ns, 40 * kMillisecond);
  EXPECT_EQ(test::read(*reactor, device, 0, large.span().first(4096)), IoStatus::ok);
  EXPECT_GE(reactor->now() - begin_ns, 50 * kMillisecond);  // 100 ms less the burst saved up
}

Task<void> note_write(BlockDevice* device, Buffer* data, int mark, std::vector<int>* order) {
  const IoStatus status = co_await device->write(0, data->span());
  EXPECT_EQ(status, IoStatus::ok);
  order->push_back(mark);
}

Task<void> wait_for(Reactor* reactor, std::vector<int>* order, size_t count) {
  while (order->size() < count) co_await reactor->sleep(kMillisecond);
}

TEST(Throttle, KeepsTheOrder) {
  auto reactor = make_reactor();
  MemoryDevice memory(1u << 20);
  auto throttle = Throttle::create(*reactor, {.requests_per_second = 2000, .burst_ns = 0});
  ThrottledDevice device(*reactor, memory, throttle);
  Buffer data(4096);
  std::memset(data.data(), 0, data.size());
  std::vector<int> order;
  for (int i = 0; i < 50; ++i) reactor->spawn(note_write(&device, &data, i, &order));
  run_task(*reactor, wait_for(reactor.get(), &order, 50));
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

}  // namespace
}  // namespace latte
