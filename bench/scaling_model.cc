// The simulator's projection to hardware that is not here: so many drives behind so many cores.
//
// A request waits for its queue's core, which works on one at a time and takes the CPU time that
// was measured for it (vhost_ring_bench), then for its drive (SimDrive), in virtual time. A disk is
// a drive; its queues are spread over the cores. What is assumed, and where the numbers come from:
// docs/internals/scaling.md.
//
//   scaling_model --cost-ns N [--large-cost-ns N] [--ratio R] [--depth 128]
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "sim/sim_drive.h"

namespace latte::bench {
namespace {

struct Options {
  double cost_ns = 0;        ///< of 4 KiB on one core
  double large_cost_ns = 0;  ///< of 128 KiB
  double ratio = 1;          ///< cost on two cores over cost on one
  uint32_t depth = 128;      ///< of a disk, 4 KiB; 128 KiB go at a quarter
  uint32_t queues = 4;       ///< of a disk
};

constexpr uint64_t kSmallBytes = 4u << 10;
constexpr uint64_t kLargeBytes = 128u << 10;
constexpr TimeNs kWarmUpNs = 2 * kMillisecond;
constexpr TimeNs kMeasuredNs = 20 * kMillisecond;
constexpr uint64_t kDriveBytes = 1u << 30;

// The paper's drive.
constexpr double kDriveBytesPerSecond = 6.9e9;
// 1 M reads of 4 KiB: what their bytes leave of a microsecond is the request's own.
constexpr double kDriveRequestsPerSecond = 1 / (1e-6 - kSmallBytes / kDriveBytesPerSecond);
constexpr TimeNs kDriveReadNs = 75 * kMicrosecond;

/// A core works on one request at a time, in order of arrival.
struct Core {
  TimeNs busy_until_ns = 0;
  TimeNs worked_ns = 0;
};

struct Load {
  sim::SimReactor& reactor;
  sim::SimDrive& drive;
  Core& core;
  uint64_t bytes;
  TimeNs cost_ns;
  uint64_t& done;
  double& waited_ns;
};

Task<void> run_client(Load load, uint64_t seed) {
  Random random(seed);
  Buffer data(load.bytes);
  for (;;) {
    const TimeNs start_ns = load.reactor.now();
    load.core.busy_until_ns = std::max(load.core.busy_until_ns, start_ns) + load.cost_ns;
    load.core.worked_ns += load.cost_ns;
    co_await load.reactor.sleep_until(load.core.busy_until_ns);
    const uint64_t at = random.below(kDriveBytes / load.bytes) * load.bytes;
    const IoStatus status = co_await load.drive.read(at, data.span());
    LATTE_CHECK(status == IoStatus::ok);
    ++load.done;
    load.waited_ns += static_cast<double>(load.reactor.now() - start_ns);
  }
}

struct Result {
  double per_second = 0;
  double mean_us = 0;
  double busy = 0;  ///< of the cores
};

Result project(const Options& options, uint32_t disks, uint32_t core_count, uint64_t bytes) {
  sim::World world(1);
  sim::SimReactor reactor(world, "host", 0);
  const bool large = bytes == kLargeBytes;
  const double one_core_ns = large ? options.large_cost_ns : options.cost_ns;
  const double cost_ns = one_core_ns * std::pow(options.ratio, std::log2(core_count));
  std::vector<Core> cores(core_count);
  std::vector<std::unique_ptr<sim::SimDrive>> drives;
  uint64_t done = 0;
  double waited_ns = 0;
  for (uint32_t disk = 0; disk < disks; ++disk) {
    sim::DriveOptions drive;
    drive.size_bytes = kDriveBytes;
    drive.read = {kDriveReadNs, 0, 0, kDriveBytesPerSecond, kDriveRequestsPerSecond};
    drives.push_back(std::make_unique<sim::SimDrive>(world, drive));
    drives.back()->connect(reactor);
    const uint32_t depth = large ? options.depth / 4 : options.depth;
    for (uint32_t i = 0; i < depth; ++i) {
      const uint32_t queue = disk * options.queues + i % options.queues;
      reactor.spawn(run_client({reactor, *drives.back(), cores[queue % core_count], bytes,
                                static_cast<TimeNs>(std::lround(cost_ns)), done, waited_ns},
                               uint64_t{disk} * depth + i + 1));
    }
  }
  (void)world.run_for(kWarmUpNs);
  done = 0;
  waited_ns = 0;
  for (Core& core : cores) core.worked_ns = 0;
  (void)world.run_for(kMeasuredNs);
  TimeNs worked_ns = 0;
  for (const Core& core : cores) worked_ns += core.worked_ns;
  Result result;
  result.per_second = static_cast<double>(done) * kSecond / kMeasuredNs;
  result.mean_us = waited_ns / static_cast<double>(done) / kMicrosecond;
  result.busy = static_cast<double>(worked_ns) / static_cast<double>(kMeasuredNs * core_count);
  reactor.destroy_tasks();
  return result;
}

int run(const Options& options) {
  std::printf("%5s %5s | %12s %8s %6s | %9s %8s %6s\n", "disks", "cores", "4 KiB read/s", "mean us",
              "busy", "128K GB/s", "mean us", "busy");
  for (const uint32_t disks : {1u, 8u}) {
    for (const uint32_t cores : {1u, 2u, 4u, 8u, 16u}) {
      if (cores > disks * options.queues) continue;
      const Result small = project(options, disks, cores, kSmallBytes);
      const Result large = project(options, disks, cores, kLargeBytes);
      std::printf("%5u %5u | %12.0f %8.0f %6.2f | %9.1f %8.0f %6.2f\n", disks, cores,
                  small.per_second, small.mean_us, std::min(small.busy, 1.0),
                  large.per_second * kLargeBytes / 1e9, large.mean_us, std::min(large.busy, 1.0));
    }
  }
  return 0;
}

}  // namespace
}  // namespace latte::bench

int main(int argc, char** argv) {
  latte::bench::Options options;
  CLI::App app{"Projection to more drives and cores, in virtual time"};
  const auto cost = CLI::Range(1.0, 1e9);
  app.add_option("--cost-ns", options.cost_ns, "CPU time of a 4 KiB read, one core")
      ->required()
      ->check(cost);
  app.add_option("--large-cost-ns", options.large_cost_ns, "of 128 KiB; --cost-ns if not given")
      ->check(cost);
  app.add_option("--ratio", options.ratio, "cost on two cores over cost on one")
      ->check(CLI::Range(0.5, 10.0));
  app.add_option("--depth", options.depth, "4 KiB requests under way, of a disk")
      ->check(CLI::Range(8, 4096));
  CLI11_PARSE(app, argc, argv);
  if (options.large_cost_ns == 0) options.large_cost_ns = options.cost_ns;
  return latte::bench::run(options);
}
