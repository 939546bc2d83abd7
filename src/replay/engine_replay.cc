#include "replay/engine_replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/buffer.h"
#include "base/check.h"
#include "base/units.h"
#include "disk/host.h"
#include "disk/hybrid_disk.h"
#include "model/nvme_model.h"
#include "runtime/sync.h"
#include "sim/sim_cloud.h"
#include "sim/sim_drive.h"
#include "sim/sim_world.h"

namespace latte::replay {
namespace {

constexpr uint64_t kMaxDiskBytes = 64ull << 40;
constexpr uint64_t kMaxRequestBytes = 32ull << 20;
constexpr uint64_t kLeastCloudLogBytes = 256ull << 20;
/// A pool has at least so many segments, so that reclaiming one frees a small part of it.
constexpr uint64_t kLeastSegments = 64;
constexpr uint64_t kLeastSegmentBytes = 64u << 10;
constexpr uint64_t kMostSegmentBytes = 4u << 20;
constexpr uint64_t kProgressEvery = 4096;
/// Virtual time after the last request in which everything must have ended.
constexpr TimeNs kLongestEndNs = 3600 * kSecond;

uint64_t segment_bytes_for(uint64_t pool_bytes) {
  uint64_t bytes = kMostSegmentBytes;
  while (bytes > kLeastSegmentBytes && pool_bytes / bytes < kLeastSegments) bytes /= 2;
  return bytes;
}

sim::DriveOptions drive_options(const EngineReplayOptions& options) {
  sim::DriveOptions drive;
  drive.name = "replay's pool";
  drive.size_bytes = round_up(options.pool_bytes, kBlockBytes);
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

/// One host with one disk, and what feeds it.
class Replayer {
 public:
  Replayer(const RequestTrace& trace, const EngineReplayOptions& options,
           const OnProgress& on_progress)
      : trace_(trace),
        options_(options),
        on_progress_(on_progress),
        world_(options.seed),
        reactor_(world_, "replay", 0),
        drive_(world_, drive_options(options)),
        cloud_(world_, cloud_options(trace, options)),
        volume_(cloud_, reactor_),
        room_(reactor_) {
    drive_.connect(reactor_);
    host_ = std::make_unique<Host>(reactor_, drive_, options.admission);
    disk_options_.name = "disk";
    disk_options_.size_bytes = trace.size_bytes;
    disk_options_.dispatch = {options.dispatch, DispatchTrainer::Runs::in_end};
    const auto span =
        static_cast<TimeNs>(static_cast<double>(trace.records.back().time_ns) / options.speed);
    slice_ns_ = span / static_cast<TimeNs>(kTimeSlices) + 1;
    run_.slices.resize(kTimeSlices);
    for (size_t i = 0; i < kTimeSlices; ++i)
      run_.slices[i].begin_ns = static_cast<TimeNs>(i) * slice_ns_;
  }
  ~Replayer() {
    reactor_.destroy_tasks();
    host_.reset();
  }

  Result<EngineRun> run() {
    const auto start = std::chrono::steady_clock::now();
    reactor_.spawn(go());
    const TimeNs limit = trace_.records.back().time_ns;
    const auto stop = world_.run_until(
        [this] { return ended_; },
        static_cast<TimeNs>(static_cast<double>(limit) / options_.speed) + kLongestEndNs);
    if (error_) return std::move(*error_);
    if (stop != sim::World::Stop::condition)
      return Error{Errc::io, fmt::format("trace {}: {} requests are still under way an hour after "
                                         "the last one; the cloud model is too slow for it, try a "
                                         "smaller --speed",
                                         trace_.name, under_way_)};
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
      co_await feed();
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

  /// Starts each request at its time, then waits for the last.
  Task<void> feed() {
    start_ns_ = reactor_.now();
    for (const trace::TraceRecord& record : trace_.records) {
      const TimeNs due =
          start_ns_ + static_cast<TimeNs>(static_cast<double>(record.time_ns) / options_.speed);
      if (due > reactor_.now()) co_await reactor_.sleep_until(due);
      if (under_way_ >= kMaxUnderWay) ++run_.late;
      while (under_way_ >= kMaxUnderWay) co_await room_.wait();
      ++under_way_;
      reactor_.spawn(request(record));
      if (++run_.requests % kProgressEvery == 0)
        on_progress_(static_cast<double>(run_.requests) /
                     static_cast<double>(trace_.records.size()));
    }
    while (under_way_ > 0) co_await room_.wait();
    run_.virtual_ns = reactor_.now() - start_ns_;
  }

  Task<void> request(const trace::TraceRecord& record) {
    const TimeNs begun = reactor_.now();
    IoStatus status = IoStatus::ok;
    if (record.op == trace::TraceOp::flush) {
      status = co_await disk_->flush();
    } else if (record.op == trace::TraceOp::discard) {
      status = co_await disk_->discard(record.offset_bytes, record.length_bytes);
    } else {
      Buffer data(record.length_bytes);
      run_.blocks += (record.offset_bytes + record.length_bytes - 1) / kBlockBytes -
                     record.offset_bytes / kBlockBytes + 1;
      if (record.op == trace::TraceOp::read) {
        status = co_await disk_->read(record.offset_bytes, data.span().first(record.length_bytes));
      } else {
        std::fill(data.span().begin(), data.span().end(), std::byte{0x5a});
        status = co_await disk_->write(record.offset_bytes, data.span().first(record.length_bytes));
      }
    }
    if (status != IoStatus::ok) ++run_.failed;
    const auto slice = static_cast<size_t>((reactor_.now() - start_ns_) / slice_ns_);
    run_.slices[std::min(slice, kTimeSlices - 1)].latency.record(reactor_.now() - begun);
    --under_way_;
    room_.notify_all();
  }

  const RequestTrace& trace_;
  const EngineReplayOptions& options_;
  const OnProgress& on_progress_;
  sim::World world_;
  sim::SimReactor reactor_;
  sim::SimDrive drive_;
  sim::SimCloud cloud_;
  sim::SimCloudVolume volume_;
  WaitQueue room_;
  std::unique_ptr<Host> host_;
  DiskOptions disk_options_;
  HybridDisk* disk_ = nullptr;
  size_t under_way_ = 0;
  TimeNs start_ns_ = 0;
  TimeNs slice_ns_ = 1;
  bool ended_ = false;
  std::optional<Error> error_;
  EngineRun run_;
};

}  // namespace

Result<RequestTrace> load_request_trace(const std::string& path, const trace::TraceOptions& options,
                                        const OnProgress& on_progress) {
  auto opened = trace::TraceReader::open(path, options);
  if (!opened) return opened.error();
  trace::TraceReader& reader = *opened.value();
  RequestTrace result;
  result.name = trace_name(path);
  std::unordered_set<uint64_t> blocks;
  trace::TraceRecord record;
  for (;;) {
    const auto more = reader.next(record);
    if (!more) return more.error();
    if (!more.value()) break;
    const uint64_t begin = round_down(record.offset_bytes, kSectorBytes);
    const uint64_t end = record.offset_bytes + record.length_bytes;
    const bool moves_data = record.op == trace::TraceOp::read || record.op == trace::TraceOp::write;
    if (end > kMaxDiskBytes ||
        (moves_data && record.length_bytes > kMaxRequestBytes - kSectorBytes))
      return Error{
          Errc::invalid,
          fmt::format("trace {}: request {} (offset {}, length {}) does not fit a disk of {} "
                      "TiB, or is longer than {} MiB; replay it without --engine",
                      path, reader.counts().records, record.offset_bytes, record.length_bytes,
                      kMaxDiskBytes >> 40, kMaxRequestBytes >> 20)};
    if (record.op != trace::TraceOp::flush) {
      record.offset_bytes = begin;
      record.length_bytes = round_up(end, kSectorBytes) - begin;
      result.size_bytes = std::max(result.size_bytes, round_up(end, kBlockBytes));
    }
    if (moves_data)
      for (uint64_t block = begin / kBlockBytes; block * kBlockBytes < end; ++block)
        blocks.insert(block);
    if (blocks.size() > kMaxBlocks)
      return Error{Errc::invalid,
                   fmt::format("trace {}: more than {} different blocks; replay it in "
                               "parts",
                               path, kMaxBlocks)};
    result.records.push_back(record);
    if (result.records.size() % kProgressEvery == 0 && reader.total_bytes() > 0)
      on_progress(static_cast<double>(reader.consumed_bytes()) /
                  static_cast<double>(reader.total_bytes()));
  }
  if (result.size_bytes == 0)
    return Error{Errc::invalid, fmt::format("trace {}: there is nothing to replay in it", path)};
  result.footprint_bytes = blocks.size() * kBlockBytes;
  return result;
}

std::vector<CloudSecond> direct_demand(const RequestTrace& trace, double speed) {
  std::vector<CloudSecond> seconds;
  const CloudLimits count;
  for (const trace::TraceRecord& record : trace.records) {
    const double at = static_cast<double>(record.time_ns) / speed / kSecond;
    const auto second = static_cast<size_t>(at);
    if (seconds.size() <= second) seconds.resize(second + 1);
    if (record.op == trace::TraceOp::flush) continue;
    const bool discard = record.op == trace::TraceOp::discard;
    seconds[second].operations += discard ? 1 : count.operations_of(record.length_bytes);
    seconds[second].bytes += discard ? 0 : record.length_bytes;
  }
  return seconds;
}

Result<EngineRun> replay_engine(const RequestTrace& trace, const EngineReplayOptions& options,
                                const OnProgress& on_progress) {
  LATTE_CHECK(options.speed > 0 && !trace.records.empty());
  return Replayer(trace, options, on_progress).run();
}

}  // namespace latte::replay
