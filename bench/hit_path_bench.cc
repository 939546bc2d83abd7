// 4 KiB reads per second on one core from a disk whose blocks are all in a pool made of memory, and
// what each read costs in heap allocations, locks and system calls. Ends with 1 if an allocation or
// a lock per read shows, or with --least N if there are fewer reads per second of CPU time: on a
// machine that does other things too, that is what a core of its own would give.
//
// What the dispatcher costs: the same with --dispatcher, side by side. With --pool the blocks come
// through io_uring, as they do from a drive; in /dev/shm without its latency.
//
//   hit_path_bench [--depth 32] [--seconds 3] [--disk-mib 512] [--least 0] [--dir DIRECTORY]
//                  [--pool DIRECTORY] [--dispatcher local|wait|svm]
#include <time.h>

#include <CLI/CLI.hpp>

#include <cinttypes>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/random.h"
#include "bench_disk.h"
#include "counted_calls.h"
#include "device/file_create.h"
#include "device/file_device.h"
#include "device/memory_device.h"
#include "runtime/call_on.h"

namespace latte::bench {
namespace {

constexpr uint64_t kFillBytes = 128u << 10;
// Pools of coroutine frames and buffers reach their size, and the shipper its end.
constexpr TimeNs kWarmUpNs = kSecond;

struct Options {
  uint32_t depth = 32;
  double seconds = 3;
  uint64_t disk_mib = 512;
  double least = 0;
  std::string directory = "/tmp";
  std::string pool;
  DispatchMode dispatcher = DispatchMode::local;
};

Task<void> fill(HybridDisk* disk) {
  Buffer data(kFillBytes);
  for (size_t i = 0; i < data.size(); ++i) data.data()[i] = static_cast<std::byte>(i);
  for (uint64_t offset = 0; offset < disk->info().size_bytes; offset += kFillBytes) {
    const IoStatus status = co_await disk->write(offset, data.span());
    if (status != IoStatus::ok) fail("fill", std::string(to_string(status)));
  }
}

Task<void> wait_until_shipped(UringReactor* reactor, Host* host) {
  for (;;) {
    const HostStats stats = host->stats();
    if (stats.disks.front().dirty_bytes == 0) co_return;
    co_await reactor->sleep(50 * kMillisecond);
  }
}

struct Readers {
  UringReactor& reactor;
  HybridDisk& disk;
  uint64_t reads = 0;
  uint64_t errors = 0;
  bool ending = false;
  uint32_t running = 0;
};

Task<void> read_on(Readers* readers, uint64_t seed) {
  Buffer data(kBlockBytes);
  Random random(seed);
  const uint64_t blocks = readers->disk.info().size_bytes / kBlockBytes;
  while (!readers->ending) {
    const uint64_t offset = random.below(blocks) * kBlockBytes;
    const IoStatus status = co_await readers->disk.read(offset, data.span());
    if (status != IoStatus::ok) ++readers->errors;
    ++readers->reads;
  }
  --readers->running;
}

double cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

struct Measured {
  uint64_t reads = 0;
  double seconds = 0;
  double cpu_seconds = 0;
  uint64_t allocations = 0;
  uint64_t locks = 0;
  uint64_t system_calls = 0;
};

Task<Measured> measure(Readers* readers, const Options* options) {
  UringReactor& reactor = readers->reactor;
  for (uint32_t i = 0; i < options->depth; ++i) {
    ++readers->running;
    Task<void> reader = read_on(readers, i + 1);
    reactor.spawn(std::move(reader));
  }
  co_await reactor.sleep(kWarmUpNs);
  const CountedCalls before = counted_calls();
  const uint64_t system_calls = reactor.system_calls();
  const uint64_t reads = readers->reads;
  const TimeNs start = reactor.now();
  const double cpu_start = cpu_seconds();
  co_await reactor.sleep(static_cast<TimeNs>(options->seconds * 1e9));
  const CountedCalls after = counted_calls();
  Measured measured;
  measured.reads = readers->reads - reads;
  measured.seconds = static_cast<double>(reactor.now() - start) / 1e9;
  measured.cpu_seconds = cpu_seconds() - cpu_start;
  measured.allocations = after.allocations - before.allocations;
  measured.locks = after.locks - before.locks;
  measured.system_calls = reactor.system_calls() - system_calls;
  readers->ending = true;
  while (readers->running > 0) co_await reactor.yield();
  co_return measured;
}

/// A file in that directory; of memory without one.
std::unique_ptr<BlockDevice> open_pool(UringReactor& reactor, const std::string& directory,
                                       uint64_t bytes) {
  if (directory.empty()) return std::make_unique<MemoryDevice>(bytes);
  FileDevice::Options options;
  options.path = directory + "/pool";
  expect("pool", create_file_exclusive(options.path, bytes, Preallocate::no));
  return expect("pool", FileDevice::open(reactor, std::move(options)));
}

int run(const Options& options) {
  const ScratchDirectory scratch(options.directory);
  auto reactor = expect("reactor", UringReactor::create({}));
  const uint64_t disk_bytes = options.disk_mib << 20;
  // Twice the disk: nothing is reclaimed, so every read is a hit.
  const uint64_t pool_bytes = 2 * disk_bytes + (64u << 20);
  std::optional<ScratchDirectory> pool_scratch;
  if (!options.pool.empty()) pool_scratch.emplace(options.pool);
  const std::unique_ptr<BlockDevice> pool =
      open_pool(*reactor, pool_scratch ? pool_scratch->path() : "", pool_bytes);
  BenchDisk bench(*reactor, *pool,
                  {scratch.path() + "/cloud", disk_bytes, pool_bytes, {}, options.dispatcher});
  bench.create();
  bench.attach();
  run_task(*reactor, fill(&bench.disk()));
  run_task(*reactor, wait_until_shipped(reactor.get(), &bench.host()));

  Readers readers{*reactor, bench.disk()};
  const Measured measured = run_task(*reactor, measure(&readers, &options));
  const DiskStats disk = bench.host().stats().disks.front();
  bench.stop();

  const auto count = static_cast<double>(measured.reads);
  const double rate = count / measured.cpu_seconds;
  std::printf(
      "4 KiB reads, all hits, depth %u: %.0f per second of one core (%.0f ns each); %.0f per "
      "second of wall clock\n",
      options.depth, rate, 1e9 / rate, count / measured.seconds);
  std::printf("  allocations %" PRIu64 " (%.6f a read), locks %" PRIu64
              " (%.6f a read), io_uring_enter %" PRIu64 " (%.6f a read) in %" PRIu64 " reads\n",
              measured.allocations, static_cast<double>(measured.allocations) / count,
              measured.locks, static_cast<double>(measured.locks) / count, measured.system_calls,
              static_cast<double>(measured.system_calls) / count, measured.reads);
  std::printf("  misses %" PRIu64 ", errors %" PRIu64 ", from the cloud %" PRIu64
              ", asked of both %" PRIu64 "\n",
              disk.read_miss_blocks, readers.errors, disk.cloud_served_blocks, disk.hedged_blocks);
  // What a dispatcher has written to the cloud while the disk was filled is not in the pool.
  const uint64_t misses = options.dispatcher == DispatchMode::local ? 0 : measured.reads / 1000;
  if (readers.errors != 0 || disk.read_miss_blocks > misses)
    fail("reads", "not all of them were hits");
  // Whatever happens once in a thousand reads or less is not per read: a timer, the page's figures.
  if (measured.allocations * 1000 > measured.reads) fail("allocations", "more than 0.001 a read");
  if (measured.locks * 1000 > measured.reads) fail("locks", "more than 0.001 a read");
  if (rate < options.least) fail("reads per second of one core", "fewer than --least");
  return 0;
}

}  // namespace
}  // namespace latte::bench

int main(int argc, char** argv) {
  latte::bench::Options options;
  CLI::App app{"In-process hit path: 4 KiB reads per second on one core, and their cost"};
  app.add_option("--depth", options.depth, "reads under way")->check(CLI::Range(1, 1024));
  app.add_option("--seconds", options.seconds, "measured, after a second of warming up");
  app.add_option("--disk-mib", options.disk_mib, "size of the disk")->check(CLI::Range(1, 8192));
  app.add_option("--least", options.least, "fail below so many reads per second");
  std::string dispatcher = "local";
  app.add_option("--dispatcher", dispatcher, "of reads that both tiers could answer")
      ->check(CLI::IsMember({"local", "wait", "svm"}));
  app.add_option("--pool", options.pool, "the pool is a file in this directory; none: memory");
  app.add_option("--dir", options.directory, "where the cloud volume goes");
  CLI11_PARSE(app, argc, argv);
  options.dispatcher = *latte::dispatch_mode(dispatcher);
  return latte::bench::run(options);
}
