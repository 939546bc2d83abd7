#include "run.h"

#include "base/planted.h"

#include <algorithm>

namespace latte::simtest {

namespace {
/// A run takes some ten thousand steps; this many means that it does not end.
constexpr uint64_t kMaxSteps = 20'000'000;

DiskOptions random_disk(Random& random, uint32_t index) {
  DiskOptions options;
  options.name = fmt::format("disk{}", index);
  static constexpr uint64_t kSizes[] = {128, 256, 512, 512, 1024, 1024, 2048};
  options.size_bytes = kSizes[random.below(std::size(kSizes))] * 1024;
  options.durability = random.chance(1, 3) ? Durability::cloud : Durability::local;
  static constexpr TimeNs kLags[] = {100 * kMillisecond, 500 * kMillisecond, 2 * kSecond,
                                     2 * kSecond, kNoLagLimit};
  options.max_lag_ns = kLags[random.below(std::size(kLags))];
  return options;
}

sim::SimCloudOptions random_cloud(Random& random, const DiskOptions& disk, uint64_t log_bytes) {
  sim::SimCloudOptions options;
  options.name = "cloud:" + disk.name;
  options.base_bytes = disk.size_bytes;
  options.log_bytes = log_bytes;
  const uint64_t base_us = random.between(200, 5000);
  options.latency.base_ns = static_cast<TimeNs>(base_us) * kMicrosecond;
  options.latency.tail_ns = options.latency.base_ns / 2;
  options.latency.flush_ns = static_cast<TimeNs>(random.between(200, 3000)) * kMicrosecond;
  options.latency.bytes_per_second = static_cast<double>(random.between(20, 400)) * 1e6;
  options.latency.requests_per_second = static_cast<double>(random.between(1000, 20000));
  return options;
}

/// Drawn apart, so that a seed does otherwise the same with either kind of fence.
void choose_fence(const RunOptions& run, uint32_t index, sim::SimCloudOptions& service) {
  Random random(run.seed * 0x9e3779b97f4a7c15ull + index);
  if (run.fence == Fence::generation || (run.fence == Fence::any && !random.chance(1, 3))) return;
  service.lease_ns = 4 * kSecond;
  service.sessions = random.chance(1, 2) ? 1 : 2;
}

/// Likewise.
policy::AdmissionOptions choose_admission(const RunOptions& run) {
  Random random(run.seed * 0xbf58476d1ce4e5b9ull + 1);
  policy::AdmissionOptions options;
  options.mode = policy::AdmissionMode::none;
  if (run.admission == Use::none || random.chance(1, 4)) return options;
  options.mode = random.chance(1, 2) ? policy::AdmissionMode::all : policy::AdmissionMode::s3fifo;
  // Drawn apart, so that runs without it stay what they were.
  if (run.staging == Use::any && Random(run.seed * 7 + 1).chance(1, 2))
    options.mode = policy::AdmissionMode::adaptive;
  // Runs last minutes: this is soon spent, and comes back in part.
  if (random.chance(1, 6)) options.write_budget_bytes = 8ull << 30;
  return options;
}

/// Likewise. By the rule, and not the model: a run is too short for training.
DispatchOptions choose_dispatch(const RunOptions& run) {
  Random random(run.seed * 0x94d049bb133111ebull + 1);
  DispatchOptions options;
  if (run.dispatch == Use::any && random.chance(1, 3))
    options.mode = random.chance(2, 3) ? DispatchMode::lots : DispatchMode::wait;
  return options;
}

/// Likewise. A stream is one soon: the disks are small.
ReadAheadOptions choose_read_ahead(const RunOptions& run) {
  Random random(run.seed * 0xd6e8feb86659fd93ull + 1);
  ReadAheadOptions options;
  if (run.read_ahead == Use::any && random.chance(1, 2)) options.stream_blocks = 2;
  return options;
}

Workload random_workload(Random& random) {
  Workload workload;
  workload.writes = random.between(30, 80);
  workload.flushes = random.between(1, 10);
  workload.zeroes = random.chance(1, 3) ? 0 : random.between(1, 10);
  workload.fua = random.chance(1, 2) ? 0 : random.between(1, 30);
  workload.hot = random.between(0, 90);
  static constexpr TimeNs kThink[] = {0, 100 * kMicrosecond, kMillisecond, 5 * kMillisecond,
                                      20 * kMillisecond};
  workload.think_ns = kThink[random.below(std::size(kThink))];
  static constexpr unsigned kClients[] = {1, 2, 4, 8, 16};
  workload.clients_max = kClients[random.below(std::size(kClients))];
  workload.size_class = static_cast<unsigned>(random.below(4));
  return workload;
}
}  // namespace

Run::Run(RunOptions options) : world(options.seed), spared(options.spared) {
  world.set_tracing(options.trace);
  world.set_step_limit(kMaxSteps);
  Random& random = world.random();
  static constexpr uint64_t kSegments[] = {64, 64, 128, 256};
  pool.segment_bytes = kSegments[random.below(std::size(kSegments))] * 1024;
  const auto count = static_cast<uint32_t>(random.chance(1, 2) ? 1 : random.between(2, 3));
  pool_segments = random.between(4 + 2 * count, random.chance(1, 2) ? 16 : 40);
  workload = random_workload(random);
  // Drawn apart, too.
  workload.rereads = options.rereads == Use::any && Random(options.seed * 3 + 1).chance(1, 3);
  snapshots = options.snapshots == Use::any && Random(options.seed * 5 + 1).chance(1, 3);
  may_damage = random.chance(1, 3) && !spared.damage;
  may_break_cloud = random.chance(1, 2) && !spared.cloud;
  for (uint32_t i = 0; i < count; ++i) {
    DiskOptions disk = random_disk(random, i);
    disk.dispatch = choose_dispatch(options);
    disk.read_ahead = choose_read_ahead(options);
    CloudOptions cloud_log;
    cloud_log.segment_bytes = kSegments[random.below(std::size(kSegments))] * 1024;
    // The engine asks for at least four pool segments; anything smaller it refuses.
    const uint64_t log_bytes =
        std::max(cloud_log.segment_bytes * random.between(5, 25), 5 * pool.segment_bytes);
    sim::SimCloudOptions service = random_cloud(random, disk, log_bytes);
    service.no_blocklist = planted(Planted::blocklist_skipped);
    choose_fence(options, i, service);
    disks.push_back(std::make_unique<DiskSim>(world, i, disk, cloud_log, service));
  }
  static constexpr uint64_t kBuffers[] = {0, 0, 64, 128, 1024};
  const uint64_t buffer_kib = kBuffers[random.below(std::size(kBuffers))];
  const policy::AdmissionOptions admission = choose_admission(options);
  for (const char* name : {"A", "B", "C"})
    machines.push_back(std::make_unique<Machine>(world, name, buffer_kib * 1024, admission));
  world.trace(
      "geometry: pool {} x {} KiB, {} disks, {} clients at most, think {} us, damage {}, "
      "cloud faults {}, write buffer {} KiB, admission {}, {} bytes a day",
      pool_segments, pool.segment_bytes / 1024, disks.size(), workload.clients_max,
      workload.think_ns / 1000, may_damage, may_break_cloud, buffer_kib,
      static_cast<int>(admission.mode), admission.write_budget_bytes);
  for (const auto& disk : disks)
    world.trace(
        "{}: {} KiB, durability {}, max_lag {} ms, cloud log {} x {} KiB, dispatcher {}",
        disk->options.name, disk->options.size_bytes / 1024,
        disk->options.durability == Durability::cloud ? "cloud" : "local",
        disk->options.max_lag_ns == kNoLagLimit ? -1 : disk->options.max_lag_ns / kMillisecond,
        disk->cloud.options().log_bytes / disk->cloud_options.segment_bytes,
        disk->cloud_options.segment_bytes / 1024, name_of(disk->options.dispatch.mode));
}

Run::~Run() {
  // Processes before the clouds they talk to.
  machines.clear();
}

sim::DriveOptions Run::drive_options(const Machine& machine) {
  sim::DriveOptions options;
  options.name = "drive" + machine.name();
  // Room for the superblocks beside the segments.
  options.size_bytes = pool.segment_bytes * (pool_segments + 1);
  options.can_fua = world.random().chance(1, 2);
  options.can_discard = world.random().chance(1, 2);
  return options;
}

}  // namespace latte::simtest
