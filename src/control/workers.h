// Workers: the reactors beside the engine's, each on a thread of its own, and the disks as they
// have them. A disk belongs to the engine's reactor; guests' queues may run on any.
//
// A local disk's worker goes to the drive itself (LocalVolumeLane); any other disk's passes the
// requests on to the engine (RemoteDevice), and does what else there is to them: the queue, the
// copies, the guest's interrupts.
//
// Invariants:
//  1. Workers stop before the engine, and what was made for them is destroyed after both.
// Thread rule: one thread, not a reactor's; add_requests() on any such thread, once all lanes are
// made. Limits: kMaxReactors reactors, the engine's included.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/config.h"
#include "control/engine_thread.h"
#include "device/file_device.h"
#include "device/io_trace_ring.h"
#include "device/remote_device.h"
#include "device/tracing_device.h"
#include "disk/local_volume_lane.h"
#include "disk/stats.h"
#include "frontend/vhost_user_server.h"

namespace latte {

class Workers {
 public:
  /// Starts them, all but the engine. Errors: as EngineThread::start() and FileDevice::open() of
  /// the pool.
  static Result<std::unique_ptr<Workers>> start(const Config& config, EngineThread& engine);
  ~Workers();

  /// The reactors and the disk as each has it; the first is another one for each disk, so that
  /// disks with one queue spread, too. `volume`: the disk, if it is a local one.
  std::vector<VhostLane> lanes_of(const std::string& name, BlockDevice& disk, LocalVolume* volume);
  /// Tells the lanes of a hybrid disk its new size.
  void set_size(const std::string& name, uint64_t size_bytes);
  /// Notes the requests that a local disk's lanes get here, each worker's in a ring of its own. Any
  /// other disk's pass the engine's reactor, and are noted there.
  std::vector<std::shared_ptr<IoTraceRing>> start_trace(const std::string& name);
  void stop_trace(const std::string& name);
  /// Adds what the workers did to the disks' statistics.
  void add_requests(HostStats& stats);
  /// Ends the threads and whatever still was under way on them. Twice is fine.
  void stop();

 private:
  struct Lane {
    std::string name;
    std::unique_ptr<BlockDevice> device;
    LocalVolumeLane* local = nullptr;        // device, if it is one
    std::unique_ptr<TracingDevice> tracing;  // in front of local
    RemoteDevice* remote = nullptr;          // device, if it is one
  };
  struct Worker {
    std::unique_ptr<EngineThread> thread;  // its reactor outlives what is below
    std::unique_ptr<FileDevice> pool;
    std::vector<Lane> lanes;
  };

  explicit Workers(EngineThread& engine) : engine_(engine) {}

  EngineThread& engine_;
  std::vector<Worker> workers_;
  size_t disks_ = 0;
};

}  // namespace latte
