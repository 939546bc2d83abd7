// How long a disk takes to come back after SIGKILL with a full pool, and what its index costs. A
// child fills the pool with 4 KiB writes to random places, the cloud too slow to keep up, so that
// part of the pool is dirty and part is clean, and kills itself. The parent then times what a
// server does before it is ready, and reads samples back. Ends with 1 if one is wrong or a limit is
// passed.
//
//   recovery_bench [--pool-gib 8] [--cloud-mib 50] [--dir DIRECTORY] [--most-seconds 0]
//                  [--most-index-bytes 0]
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/random.h"
#include "bench_disk.h"
#include "device/file_device.h"
#include "runtime/call_on.h"

namespace latte::bench {
namespace {

// A header block is shared by the writes of a turn; this much of the pool is left to headers,
// tables and the segments that reclaim keeps free.
constexpr double kDataShare = 0.85;
constexpr uint32_t kWriters = 128;
constexpr uint64_t kSamples = 2000;

struct Options {
  uint64_t pool_gib = 8;
  uint64_t cloud_mib = 50;
  std::string directory = ".";
  double most_seconds = 0;
  double most_index_bytes = 0;
};

struct Place {
  std::string pool_path;
  BenchDisk::Options disk;
};

void stamp(std::span<std::byte> block, uint64_t number) {
  for (size_t at = 0; at < block.size(); at += sizeof(number))
    std::memcpy(block.data() + at, &number, sizeof(number));
}

std::unique_ptr<FileDevice> open_pool_file(UringReactor& reactor, const std::string& path) {
  FileDevice::Options options;
  options.path = path;
  return expect("pool", FileDevice::open(reactor, std::move(options)));
}

// Written in full, as latte create does: a sparse file's allocation is not what is measured.
void make_pool_file(const std::string& path, uint64_t bytes) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) fail(path, std::strerror(errno));
  const std::vector<char> zeroes(8u << 20);
  for (uint64_t at = 0; at < bytes; at += zeroes.size()) {
    if (::write(fd, zeroes.data(), zeroes.size()) != static_cast<ssize_t>(zeroes.size()))
      fail(path, std::strerror(errno));
  }
  ::fsync(fd);
  ::close(fd);
}

struct Filling {
  HybridDisk& disk;
  std::vector<uint32_t> order;
  size_t next = 0;
  uint32_t running = 0;
};

Task<void> write_on(Filling* filling) {
  Buffer data(kBlockBytes);
  while (filling->next < filling->order.size()) {
    const uint64_t block = filling->order[filling->next++];
    stamp(data.span(), block);
    const IoStatus status = co_await filling->disk.write(block * kBlockBytes, data.span());
    if (status != IoStatus::ok) fail("fill", to_string(status));
  }
  --filling->running;
}

Task<void> fill(UringReactor* reactor, Filling* filling) {
  for (uint32_t i = 0; i < kWriters; ++i) {
    ++filling->running;
    Task<void> writer = write_on(filling);
    reactor->spawn(std::move(writer));
  }
  while (filling->running > 0) co_await reactor->sleep(10 * kMillisecond);
}

void print_pool(const char* when, const HostStats& stats) {
  const double mib = 1024.0 * 1024.0;
  std::printf("%s: pool %.0f MiB, used %.0f, dirty %.0f; %" PRIu64 " blocks readable from it\n",
              when, static_cast<double>(stats.pool.size_bytes) / mib,
              static_cast<double>(stats.pool.used_bytes) / mib,
              static_cast<double>(stats.pool.dirty_bytes) / mib, stats.disks.front().cached_blocks);
}

[[noreturn]] void fill_and_die(const Place& place) {
  auto reactor = expect("reactor", UringReactor::create({}));
  const auto pool = open_pool_file(*reactor, place.pool_path);
  BenchDisk bench(*reactor, *pool, place.disk);
  bench.create();
  bench.attach();
  Filling filling{bench.disk(), {}};
  filling.order.resize(place.disk.size_bytes / kBlockBytes);
  std::iota(filling.order.begin(), filling.order.end(), 0u);
  Random random(1);
  for (size_t i = filling.order.size(); i > 1; --i)
    std::swap(filling.order[i - 1], filling.order[random.below(i)]);
  run_task(*reactor, fill(reactor.get(), &filling));
  print_pool("killed at", bench.host().stats());
  std::fflush(stdout);
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

// Tells a slow recovery from a machine that was busy with something else.
double cpu_seconds_of_process() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

Task<uint64_t> count_wrong(HybridDisk* disk) {
  Buffer data(kBlockBytes);
  Buffer expected(kBlockBytes);
  Random random(2);
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < kSamples; ++i) {
    const uint64_t block = random.below(disk->info().size_bytes / kBlockBytes);
    stamp(expected.span(), block);
    const IoStatus status = co_await disk->read(block * kBlockBytes, data.span());
    if (status != IoStatus::ok || std::memcmp(data.data(), expected.data(), kBlockBytes) != 0)
      ++wrong;
  }
  co_return wrong;
}

int run(const Options& options) {
  const ScratchDirectory scratch(options.directory);
  const uint64_t pool_bytes = options.pool_gib << 30;
  Place place;
  place.pool_path = scratch.path() + "/pool";
  place.disk.cloud_directory = scratch.path() + "/cloud";
  const auto data_bytes = static_cast<uint64_t>(static_cast<double>(pool_bytes) * kDataShare);
  place.disk.size_bytes = data_bytes / kBlockBytes * kBlockBytes;
  place.disk.cloud_log_bytes = pool_bytes;
  place.disk.cloud_limits.bytes.per_second = options.cloud_mib << 20;
  make_pool_file(place.pool_path, pool_bytes);

  const pid_t child = ::fork();
  if (child < 0) fail("fork", std::strerror(errno));
  if (child == 0) fill_and_die(place);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFSIGNALED(status)) fail("fill", "the child ended before it was killed");

  place.disk.cloud_limits = {};
  const double cpu_before = cpu_seconds_of_process();
  const auto start = std::chrono::steady_clock::now();
  auto reactor = expect("reactor", UringReactor::create({}));
  const auto pool = open_pool_file(*reactor, place.pool_path);
  BenchDisk bench(*reactor, *pool, place.disk);
  bench.attach();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const double cpu_seconds = cpu_seconds_of_process() - cpu_before;
  const HostStats stats = bench.host().stats();
  print_pool("recovered", stats);
  const double index_bytes = static_cast<double>(stats.pool.index_bytes) /
                             static_cast<double>(stats.disks.front().cached_blocks);
  std::printf("recovery: %.3f s (%.3f s of CPU); index: %.2f bytes a cached block\n", took.count(),
              cpu_seconds, index_bytes);
  const uint64_t wrong = run_task(*reactor, count_wrong(&bench.disk()));
  std::printf("samples: %" PRIu64 " of %" PRIu64 " wrong\n", wrong, kSamples);
  bench.stop();
  if (wrong != 0) fail("samples", "acknowledged writes are missing");
  if (options.most_seconds > 0 && took.count() > options.most_seconds)
    fail("recovery", "longer than --most-seconds");
  if (options.most_index_bytes > 0 && index_bytes > options.most_index_bytes)
    fail("index", "larger than --most-index-bytes");
  return 0;
}

}  // namespace
}  // namespace latte::bench

int main(int argc, char** argv) {
  latte::bench::Options options;
  CLI::App app{"Recovery after SIGKILL with a full pool"};
  app.add_option("--pool-gib", options.pool_gib, "size of the pool")->check(CLI::Range(1, 1024));
  app.add_option("--cloud-mib", options.cloud_mib, "the cloud's MiB/s while filling, 0: no cap");
  app.add_option("--dir", options.directory, "where pool and cloud go");
  app.add_option("--most-seconds", options.most_seconds, "fail if recovery takes longer");
  app.add_option("--most-index-bytes", options.most_index_bytes, "fail above, per cached block");
  CLI11_PARSE(app, argc, argv);
  return latte::bench::run(options);
}
