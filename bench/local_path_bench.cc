// 4 KiB reads and writes per second of one core's time through a local volume in memory, and what
// each costs in heap allocations, locks and system calls. The memory answers as a drive does, after
// submit(), so that all of the volume's own work is in it. Ends with 1 if an allocation or a lock
// per request shows.
//
//   local_path_bench [--depth 32] [--seconds 2] [--disk-mib 512]
#include <time.h>

#include <CLI/CLI.hpp>

#include <cstdio>

#include "base/buffer.h"
#include "base/random.h"
#include "bench_disk.h"
#include "counted_calls.h"
#include "device/memory_device.h"
#include "disk/volume_space.h"
#include "runtime/call_on.h"

namespace latte::bench {
namespace {

// Slots and frames reach their number.
constexpr TimeNs kWarmUpNs = kSecond / 2;

struct Options {
  uint32_t depth = 32;
  double seconds = 2;
  uint64_t disk_mib = 512;
};

/// Memory that answers in the reactor's next turn.
class LaterDevice final : public BlockDevice {
 public:
  LaterDevice(Reactor& reactor, BlockDevice& below) : reactor_(reactor), below_(below) {}
  const DeviceInfo& info() const override { return below_.info(); }
  bool submit(IoRequest& request) override {
    LATTE_CHECK(!below_.submit(request));
    reactor_.schedule(request.waiter);
    return true;
  }

 private:
  Reactor& reactor_;
  BlockDevice& below_;
};

struct Clients {
  UringReactor& reactor;
  BlockDevice& disk;
  IoOp op = IoOp::read;
  uint64_t requests = 0;
  uint64_t errors = 0;
  bool ending = false;
  uint32_t running = 0;
};

Task<void> run_client(Clients* clients, uint64_t seed) {
  Buffer data(kBlockBytes);
  std::memset(data.data(), 1, data.size());
  Random random(seed);
  const uint64_t blocks = clients->disk.info().size_bytes / kBlockBytes;
  IoRequest request;
  iovec vector{data.data(), data.size()};
  request.op = clients->op;
  request.length = kBlockBytes;
  request.iov = &vector;
  request.iov_count = 1;
  while (!clients->ending) {
    request.offset = random.below(blocks) * kBlockBytes;
    const IoStatus status = co_await clients->disk.io(request);
    if (status != IoStatus::ok) ++clients->errors;
    ++clients->requests;
  }
  --clients->running;
}

double cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

Task<void> measure(Clients* clients, const Options* options, const char* what) {
  UringReactor& reactor = clients->reactor;
  for (uint32_t i = 0; i < options->depth; ++i) {
    ++clients->running;
    Task<void> client = run_client(clients, i + 1);
    reactor.spawn(std::move(client));
  }
  co_await reactor.sleep(kWarmUpNs);
  const CountedCalls before = counted_calls();
  const uint64_t system_calls = reactor.system_calls();
  const uint64_t requests = clients->requests;
  const double cpu_start = cpu_seconds();
  co_await reactor.sleep(static_cast<TimeNs>(options->seconds * 1e9));
  const double cpu = cpu_seconds() - cpu_start;
  const CountedCalls after = counted_calls();
  const auto count = static_cast<double>(clients->requests - requests);
  const auto each = [&](uint64_t n) { return static_cast<double>(n) / count; };
  const double allocations = each(after.allocations - before.allocations);
  const double locks = each(after.locks - before.locks);
  std::printf(
      "4 KiB %s, depth %u: %.0f per second of one core (%.0f ns each); allocations %.6f, locks "
      "%.6f, io_uring_enter %.6f each\n",
      what, options->depth, count / cpu, cpu * 1e9 / count, allocations, locks,
      each(reactor.system_calls() - system_calls));
  clients->ending = true;
  while (clients->running > 0) co_await reactor.yield();
  if (clients->errors != 0) fail(what, "some failed");
  if (allocations > 0.001 || locks > 0.001) fail(what, "allocations or locks on the hot path");
}

int run(const Options& options) {
  auto reactor = expect("reactor", UringReactor::create({}));
  const uint64_t disk_bytes = options.disk_mib << 20;
  MemoryDevice memory(disk_bytes + (16u << 20));
  LaterDevice device(*reactor, memory);
  const VolumeArea area{0, memory.info().size_bytes};
  VolumeSpace::FormatOptions format;
  format.zeroed = true;
  expect("format", run_task(*reactor, VolumeSpace::format(*reactor, device, area, format)));
  auto space = expect(
      "open", run_task(*reactor,
                       VolumeSpace::open(*reactor, device, area, VolumeSpace::Access::read_write)));
  VolumeOptions volume{"bench", disk_bytes, false};
  expect("create", run_task(*reactor, space->create(std::move(volume))));
  LocalVolume* disk = expect("attach", space->attach("bench"));
  Clients writers{*reactor, *disk, IoOp::write};
  run_task(*reactor, measure(&writers, &options, "writes"));
  Clients readers{*reactor, *disk, IoOp::read};
  run_task(*reactor, measure(&readers, &options, "reads"));
  expect("stop", run_task(*reactor, space->stop()));
  return 0;
}

}  // namespace
}  // namespace latte::bench

int main(int argc, char** argv) {
  latte::bench::Options options;
  CLI::App app{"A local volume in memory: 4 KiB requests per second on one core, and their cost"};
  app.add_option("--depth", options.depth, "requests under way")->check(CLI::Range(1, 1024));
  app.add_option("--seconds", options.seconds, "measured, after half a second of warming up");
  app.add_option("--disk-mib", options.disk_mib, "size of the volume")->check(CLI::Range(1, 8192));
  CLI11_PARSE(app, argc, argv);
  return latte::bench::run(options);
}
