#include "replay/engine_replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "disk/host.h"
#include "disk/hybrid_disk.h"
#include "model/nvme_model.h"
#include "sim/sim_cloud.h"
#include "sim/sim_drive.h"
#include "sim/sim_world.h"

namespace latte::replay {
namespace {

constexpr uint64_t kLeastCloudLogBytes = 256ull << 20;
/// A pool has at least so many segments, so that reclaiming one frees a small part of it.
constexpr uint64_t kLeastSegments = 64;
constexpr uint64_t kLeastSegmentBytes = 64u << 10;
constexpr uint64_t kMostSegmentBytes = 4u << 20;
/// Virtual time after the last request in which everything must have ended.
constexpr TimeNs kLongestEndNs = 3600 * kSecond;

uint64_t segment_bytes_for(uint64_t pool_bytes) {
  uint64_t bytes = kMostSegmentBytes;
  while (bytes > kLeastSegmentBytes && pool_bytes / bytes < kLeastSegments) bytes /= 2;
  return bytes;
}

sim::DriveOptions drive_options(const EngineReplayOptions& options, uint64_t size_bytes) {
  sim::DriveOptions drive;
  drive.name = "replay's pool";
  drive.size_bytes = size_bytes;
  drive.timing = std::make_shared<model::NvmeModel>(options.drive, options.seed);
  return drive;
}

sim::SimCloudOptions cloud_options(const RequestTrace& trace, const EngineReplayOptions& options) {
  sim::SimCloudOptions cloud;
  cloud.base_bytes = trace.size_bytes;
  cloud.log_bytes = std::max(kLeastCloudLogBytes, round_up(options.pool_bytes, kMostSegmentBytes));
  cloud.timing = std::make_shared<model::CloudModel>(options.cloud, options.seed + 1);
  return cloud;
}

/// When everything must have ended.
TimeNs latest_end(const RequestTrace& trace, const EngineReplayOptions& options) {
  const auto last = static_cast<double>(trace.records.back().time_ns);
  return static_cast<TimeNs>(last / options.speed) + kLongestEndNs;
}

Error never_ended(const RequestTrace& trace, size_t under_way) {
  return Error{Errc::io,
               fmt::format("trace {}: {} requests are still under way an hour after the "
                           "last one; the model is too slow for it, try a smaller --speed",
                           trace.name, under_way)};
}

/// One host with one disk, and what feeds it.
class Replayer {
 public:
  Replayer(const RequestTrace& trace, const EngineReplayOptions& options,
           const OnProgress& on_progress)
      : trace_(trace),
        options_(options),
        world_(options.seed),
        reactor_(world_, "replay", 0),
        drive_(world_, drive_options(options, round_up(options.pool_bytes, kBlockBytes))),
        cloud_(world_, cloud_options(trace, options)),
        volume_(cloud_, reactor_),
        feeder_(reactor_, trace, options.speed, on_progress) {
    drive_.connect(reactor_);
    host_ = std::make_unique<Host>(reactor_, drive_, options.admission);
    disk_options_.name = "disk";
    disk_options_.size_bytes = trace.size_bytes;
    disk_options_.dispatch = {options.dispatch, DispatchTrainer::Runs::in_end};
  }
  ~Replayer() {
    reactor_.destroy_tasks();
    host_.reset();
  }

  Result<EngineRun> run() {
    const auto start = std::chrono::steady_clock::now();
    reactor_.spawn(go());
    const auto stop = world_.run_until([this] { return ended_; }, latest_end(trace_, options_));
    if (error_) return std::move(*error_);
    if (stop != sim::World::Stop::condition) return never_ended(trace_, feeder_.under_way());
    run_.pool_bytes = options_.pool_bytes;
    run_.admission = options_.admission.mode;
    run_.dispatch = options_.dispatch;
    run_.hash = world_.hash();
    run_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return std::move(run_);
  }

 private:
  Task<void> go() {
    error_ = co_await set_up();
    if (!error_) {
      reactor_.spawn(watch());
      co_await feeder_.run(*disk_);
      static_cast<FeedResult&>(run_) = std::move(feeder_.result());
    }
    if (!error_) {
      run_.stats = host_->stats();
      run_.cloud_bytes = cloud_.options().base_bytes + cloud_.options().log_bytes;
      const Result<void> stopped = co_await host_->stop();
      if (!stopped.ok()) error_ = stopped.error();
    }
    ended_ = true;
  }

  Task<std::optional<Error>> set_up() {
    PoolOptions pool;
    pool.segment_bytes = segment_bytes_for(options_.pool_bytes);
    const Result<void> made = co_await Host::format_pool(reactor_, drive_, pool);
    if (!made.ok()) co_return made.error();
    const Result<void> opened = co_await host_->open_pool();
    if (!opened.ok()) co_return opened.error();
    const Result<void> formatted =
        co_await Host::format_cloud(reactor_, volume_, disk_options_, CloudOptions{});
    if (!formatted.ok()) co_return formatted.error();
    const Result<void> adopted = co_await host_->adopt_new(disk_options_, volume_);
    if (!adopted.ok()) co_return adopted.error();
    Result<HybridDisk*> attached = co_await host_->attach(disk_options_, volume_);
    if (!attached.ok()) co_return attached.error();
    disk_ = attached.value();
    // What was never written has no copies; a trace's disk has a past.
    const IoStatus begun = co_await disk_->write_zeroes(0, kBlockBytes);
    if (begun != IoStatus::ok) co_return Error{Errc::io, "the replay's disk takes no write"};
    co_return std::nullopt;
  }

  /// Notes what each second asks of the cloud.
  Task<void> watch() {
    CloudUse before;
    for (TimeNs second = reactor_.now();;) {
      second += kSecond;
      co_await reactor_.sleep_until(second);
      const CloudUse now = disk_->stats().cloud_meter.total();
      run_.cloud_demand.push_back({now.operations - before.operations, now.bytes - before.bytes});
      before = now;
    }
  }

  const RequestTrace& trace_;
  const EngineReplayOptions& options_;
  sim::World world_;
  sim::SimReactor reactor_;
  sim::SimDrive drive_;
  sim::SimCloud cloud_;
  sim::SimCloudVolume volume_;
  RequestFeeder feeder_;
  std::unique_ptr<Host> host_;
  DiskOptions disk_options_;
  HybridDisk* disk_ = nullptr;
  bool ended_ = false;
  std::optional<Error> error_;
  EngineRun run_;
};

}  // namespace

Result<EngineRun> replay_engine(const RequestTrace& trace, const EngineReplayOptions& options,
                                const OnProgress& on_progress) {
  return Replayer(trace, options, on_progress).run();
}

Result<AloneRun> replay_alone(const RequestTrace& trace, const EngineReplayOptions& options,
                              Tier tier, const OnProgress& on_progress) {
  sim::World world(options.seed);
  sim::SimReactor reactor(world, "replay", 0);
  sim::SimDrive drive(world, drive_options(options, trace.size_bytes));
  sim::SimCloud cloud(world, cloud_options(trace, options));
  sim::SimCloudVolume volume(cloud, reactor);
  drive.connect(reactor);
  BlockDevice& device = tier == Tier::local ? static_cast<BlockDevice&>(drive) : volume.base();
  RequestFeeder feeder(reactor, trace, options.speed, on_progress);
  bool ended = false;
  const auto feed = [&]() -> Task<void> {
    co_await feeder.run(device);
    ended = true;
  };
  reactor.spawn(feed());
  const auto stop = world.run_until([&] { return ended; }, latest_end(trace, options));
  reactor.destroy_tasks();
  if (stop != sim::World::Stop::condition) return never_ended(trace, feeder.under_way());
  AloneRun run;
  static_cast<FeedResult&>(run) = std::move(feeder.result());
  run.tier = tier;
  return run;
}

}  // namespace latte::replay
