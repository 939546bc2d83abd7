// What a 4 KiB request through a vhost-user-blk queue costs the server: the ring, the disk and what
// is below, with a driver that polls as the other side.
//
// For each depth, direction and number of cores: requests per second; CPU time a request, without
// the driver's; heap allocations, locks, system calls and io_uring entries a request. The driver
// runs on the server's thread, so that one core is one server; --driver-core gives it a core of its
// own, as a guest has. Ends with 1 if there is an allocation, a lock or (in memory) a system call a
// request.
//
//   vhost_ring_bench [--disk plain] [--depths 1,32,128] [--seconds 1] [--cores 1] [--driver-core N]
//                    [--file PATH] [--disk-mib 256] [--dir DIRECTORY]
#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <thread>

#include "base/logging.h"
#include "ring_core.h"

namespace latte::bench {
namespace {

// Pools of frames, buffers and slots reach their size.
constexpr auto kWarmUp = std::chrono::milliseconds(300);
// What happens once in a thousand requests or less is not per request: a timer, the status page.
constexpr double kNone = 0.001;

struct Options {
  RingCore::Disk disk = RingCore::Disk::plain;
  std::vector<uint32_t> depths{1, 32, 128};
  double seconds = 1;
  int cores = 1;
  int driver_core = -1;
  std::string file;
  uint64_t disk_mib = 256;
  std::string directory = "/dev/shm";
  bool reads_only = false;
  bool writes_only = false;
};

struct Row {
  double rate = 0;
  double server_ns = 0;
  double driver_ns = 0;
  double allocations = 0;
  double locks = 0;
  double system_calls = -1;
  double enters = 0;
  double entries = 0;
};

Row difference(const RingCore::Sample& a, const RingCore::Sample& b) {
  Row row;
  const auto count = static_cast<double>(b.requests - a.requests);
  const auto each = [&](uint64_t from, uint64_t to) {
    return static_cast<double>(to - from) / count;
  };
  row.rate = count / (b.wall_seconds - a.wall_seconds);
  row.driver_ns = (b.driver_seconds - a.driver_seconds) * 1e9 / count;
  row.server_ns = (b.cpu_seconds - a.cpu_seconds) * 1e9 / count - row.driver_ns;
  row.allocations = each(a.calls.allocations, b.calls.allocations);
  row.locks = each(a.calls.locks, b.calls.locks);
  if (a.system_calls && b.system_calls) row.system_calls = each(*a.system_calls, *b.system_calls);
  row.enters = each(a.ring_enters, b.ring_enters);
  row.entries = each(a.ring_entries, b.ring_entries);
  return row;
}

/// One row per core that served.
std::vector<Row> measure(const Options& options, bool writes, uint32_t depth) {
  std::vector<std::unique_ptr<ScratchDirectory>> scratch;
  std::vector<std::unique_ptr<RingCore>> cores;
  for (int i = 0; i < options.cores; ++i) {
    scratch.push_back(std::make_unique<ScratchDirectory>(options.directory));
    RingCore::Options core;
    core.disk = options.disk;
    core.directory = scratch.back()->path();
    core.file = options.file;
    core.disk_bytes = options.disk_mib << 20;
    core.writes = writes;
    core.depth = depth;
    core.core = i;
    if (options.driver_core >= 0) core.driver_core = options.driver_core;
    cores.push_back(std::make_unique<RingCore>(core));
  }
  for (auto& core : cores) core->start();
  std::this_thread::sleep_for(kWarmUp);
  std::vector<RingCore::Sample> before;
  for (auto& core : cores) before.push_back(core->sample());
  std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds));
  std::vector<Row> rows;
  for (size_t i = 0; i < cores.size(); ++i)
    rows.push_back(difference(before[i], cores[i]->sample()));
  for (auto& core : cores) core->stop();
  return rows;
}

void print(bool writes, uint32_t depth, size_t core, const Row& row) {
  std::printf("%5s %6u %5zu %10.0f %10.0f %10.0f %8.4f %8.4f ", writes ? "write" : "read", depth,
              core, row.rate, row.server_ns, row.driver_ns, row.allocations, row.locks);
  if (row.system_calls < 0)
    std::printf("%9s", "unknown");
  else
    std::printf("%9.4f", row.system_calls);
  std::printf(" %8.4f %8.4f\n", row.enters, row.entries);
  std::fflush(stdout);
}

/// What goes to a file, or from a pool to its cloud, needs the kernel.
bool is_clean(const Options& options, const Row& row) {
  const bool in_memory = options.file.empty() && options.disk != RingCore::Disk::hybrid;
  return row.allocations <= kNone && row.locks <= kNone &&
         (!in_memory || row.system_calls <= kNone);
}

int run(const Options& options) {
  std::printf("%5s %6s %5s %10s %10s %10s %8s %8s %9s %8s %8s\n", "4 KiB", "depth", "core", "IOPS",
              "server ns", "driver ns", "allocs", "locks", "syscalls", "enters", "entries");
  bool clean = true;
  for (const bool writes : {false, true}) {
    if ((writes && options.reads_only) || (!writes && options.writes_only)) continue;
    for (const uint32_t depth : options.depths) {
      const std::vector<Row> rows = measure(options, writes, depth);
      for (size_t i = 0; i < rows.size(); ++i) {
        print(writes, depth, i, rows[i]);
        clean &= is_clean(options, rows[i]);
      }
    }
  }
  if (!clean) fail("hot path", "allocations, locks or system calls for each request");
  return 0;
}

}  // namespace
}  // namespace latte::bench

int main(int argc, char** argv) {
  using latte::bench::RingCore;
  latte::bench::Options options;
  CLI::App app{"vhost-user-blk: what a 4 KiB request costs the server"};
  const std::map<std::string, RingCore::Disk> disks{{"memory", RingCore::Disk::memory},
                                                    {"plain", RingCore::Disk::plain},
                                                    {"hybrid", RingCore::Disk::hybrid}};
  app.add_option("--disk", options.disk,
                 "what is served: memory (the front end alone), plain, hybrid")
      ->transform(CLI::CheckedTransformer(disks));
  app.add_option("--depths", options.depths, "requests under way")
      ->delimiter(',')
      ->check(CLI::Range(1u, latte::bench::RingDriver::kMaxDepth));
  app.add_option("--seconds", options.seconds, "measured, for each row");
  app.add_option("--cores", options.cores, "servers, each on a core of its own")
      ->check(CLI::Range(1, 64));
  app.add_option("--driver-core", options.driver_core, "the core the driver polls on");
  app.add_option("--file", options.file, "what holds the disk; memory if not given");
  app.add_option("--disk-mib", options.disk_mib, "size of a disk")->check(CLI::Range(1, 65536));
  app.add_option("--dir", options.directory, "for sockets and the cloud of hybrid disks");
  app.add_flag("--reads", options.reads_only, "only reads");
  app.add_flag("--writes", options.writes_only, "only writes");
  CLI11_PARSE(app, argc, argv);
  latte::set_log_level(latte::LogLevel::warning);
  return latte::bench::run(options);
}
