// Run: one seed's world - geometry, machines, disks, what is broken at the moment - and where a
// broken promise is reported. The scenario (scenario.h) acts on it, the clients (client.h) work in
// it.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "machine.h"
#include "run_options.h"

namespace latte::simtest {

/// What clients do, in percent, drawn once a run.
struct Workload {
  uint64_t writes = 50;
  uint64_t flushes = 5;
  uint64_t zeroes = 5;
  uint64_t fua = 10;    ///< of the writes
  uint64_t hot = 50;    ///< of the accesses go to a tenth of the disk
  TimeNs think_ns = 0;  ///< mean pause between two operations of a client
  unsigned clients_max = 16;
  bool rereads = false;     ///< what was just written is read at once, now and then
  unsigned size_class = 0;  ///< 0 mixed, 1 blocks only, 2 sectors mostly, 3 large mostly
};

/// The first broken promise of a run.
struct Failure {
  std::string promise;
  std::string text;
};

class Run {
 public:
  explicit Run(RunOptions options);
  ~Run();

  /// Records a broken promise; the first one counts.
  template <typename... Args>
  void fail(const char* promise, fmt::format_string<Args...> format, Args&&... args) {
    if (failure.has_value()) return;
    failure = Failure{promise, fmt::format(format, std::forward<Args>(args)...)};
    world.trace("FAILURE: {}: {}", failure->promise, failure->text);
  }
  bool failed() const { return failure.has_value(); }

  sim::DriveOptions drive_options(const Machine& machine);
  PoolOptions pool_options() const { return pool; }

  sim::World world;
  Spared spared;
  PoolOptions pool;
  uint64_t pool_segments = 0;
  Workload workload;
  bool may_damage = false;       ///< this run breaks drives
  bool may_break_cloud = false;  ///< this run breaks the cloud
  bool snapshots = false;        ///< this run makes snapshots
  std::vector<std::unique_ptr<DiskSim>> disks;
  std::vector<std::unique_ptr<Machine>> machines;
  uint32_t next_session = 1;
  uint64_t operations = 0;  ///< completed by clients
  std::optional<Failure> failure;
};

}  // namespace latte::simtest
