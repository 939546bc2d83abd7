#include "control/workers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace latte {

Result<std::unique_ptr<Workers>> Workers::start(const Config& config, EngineThread& engine) {
  std::unique_ptr<Workers> workers(new Workers(engine));
  for (unsigned i = 1; i < config.reactor.threads; ++i) {
    auto thread = EngineThread::start(
        {config.reactor.polling, config.reactor.cores_of(i), fmt::format("worker-{}", i)});
    if (!thread) return thread.error();
    Worker& worker = workers->workers_.emplace_back();
    worker.thread = thread.take();
    FileDevice::Options file;
    file.path = config.pool.path;
    file.expected_size_bytes = config.pool.device_bytes();
    auto pool = worker.thread->call(
        [&] { return FileDevice::open(worker.thread->reactor(), std::move(file)); });
    if (!pool) return Error{pool.error().code, "pool: " + pool.error().message};
    worker.pool = pool.take();
  }
  return workers;
}

Workers::~Workers() { stop(); }

void Workers::stop() {
  for (Worker& worker : workers_) worker.thread->stop();
}

std::vector<VhostLane> Workers::lanes_of(const std::string& name, BlockDevice& disk,
                                         LocalVolume* volume) {
  UringReactor& home = engine_.reactor();
  std::vector<VhostLane> lanes{{&home, &disk}};
  engine_.call([&] {
    for (Worker& worker : workers_) {
      UringReactor& here = worker.thread->reactor();
      Lane& lane = worker.lanes.emplace_back();
      lane.name = name;
      if (volume != nullptr) {
        auto local = std::make_unique<LocalVolumeLane>(here, home, *volume, *worker.pool);
        lane.local = local.get();
        lane.device = std::move(local);
        lane.tracing = std::make_unique<TracingDevice>(here, *lane.device);
      } else {
        auto remote = std::make_unique<RemoteDevice>(here, home, disk);
        lane.remote = remote.get();
        lane.device = std::move(remote);
      }
      if (lane.tracing)
        lanes.push_back({&here, lane.tracing.get()});
      else
        lanes.push_back({&here, lane.device.get()});
    }
  });
  const auto first = static_cast<ptrdiff_t>(disks_++ % lanes.size());
  std::rotate(lanes.begin(), lanes.begin() + first, lanes.end());
  return lanes;
}

void Workers::set_size(const std::string& name, uint64_t size_bytes) {
  for (Worker& worker : workers_) {
    worker.thread->call([&] {
      for (const Lane& lane : worker.lanes)
        if (lane.name == name && lane.remote != nullptr) lane.remote->set_size(size_bytes);
    });
  }
}

std::vector<std::shared_ptr<IoTraceRing>> Workers::start_trace(const std::string& name) {
  std::vector<std::shared_ptr<IoTraceRing>> rings;
  for (Worker& worker : workers_) {
    auto ring = std::make_shared<IoTraceRing>();
    worker.thread->call([&] {
      for (const Lane& lane : worker.lanes)
        if (lane.name == name && lane.tracing) lane.tracing->trace_into(ring);
    });
    rings.push_back(std::move(ring));
  }
  return rings;
}

void Workers::stop_trace(const std::string& name) {
  for (Worker& worker : workers_) {
    worker.thread->call([&] {
      for (const Lane& lane : worker.lanes)
        if (lane.name == name && lane.tracing) lane.tracing->trace_into(nullptr);
    });
  }
}

void Workers::add_requests(HostStats& stats) {
  for (Worker& worker : workers_) {
    worker.thread->call([&] {
      for (const Lane& lane : worker.lanes) {
        if (lane.local == nullptr) continue;
        const auto disk = std::find_if(stats.disks.begin(), stats.disks.end(),
                                       [&](const DiskStats& one) { return one.name == lane.name; });
        if (disk != stats.disks.end()) disk->add_requests(lane.local->stats());
      }
    });
  }
}

}  // namespace latte
