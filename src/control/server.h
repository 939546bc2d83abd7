// Server: `latte serve` without its signals: every disk of a configuration attached and served over
// NBD, vhost-user-blk or both.
//
// Start-up is a table of named steps, each timed in the log: pool, then for each disk attach and
// listen, then accept. Clients are let in once every disk is attached.
//
// Thread rule: start() and stop() on the main thread; snapshot() and drain() on any thread but the
// engine's, between the two. Limits: statistics are at most kSnapshotAgeMs old, so that however
// many ask, the engine answers ten times a second.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/config.h"
#include "control/node.h"
#include "control/status.h"
#include "control/volume_command.h"
#include "control/workers.h"
#include "disk/host.h"
#include "frontend/nbd_server.h"
#include "frontend/vhost_user_server.h"

namespace latte {

class Server {
 public:
  static constexpr int kSnapshotAgeMs = 100;

  struct Options {
    bool keep_going = false;  ///< serve what can be served if some disks can't
  };

  /// Errors: of the pool; of the disks that can't be served, each logged too (with keep_going only
  /// if none can). `config` outlives the server.
  static Result<std::unique_ptr<Server>> start(const Config& config, Options options);
  ~Server();

  /// Clean stop: clients' requests end and are answered, everything acknowledged is flushed.
  /// drain()s under way end with an error. snapshot() goes on working.
  /// Error: io, where something may be lost with the host's power; the server has stopped all the
  /// same.
  Result<void> stop();

  StatusSnapshot snapshot();
  /// Everything of a disk into its base. Errors: not_found, busy (a drain is under way), as
  /// Host::drain().
  Result<void> drain(const std::string& disk_name, Progress* progress);
  const Config& config() const { return config_; }
  /// Makes, lists, removes or resizes volumes (docs/reference/cli.md, latte volume); a guest of a
  /// volume that is served learns its new size at once. Errors: busy (stopping), as VolumeSpace's.
  Result<std::vector<VolumeFacts>> change_volumes(const VolumeCommand& command);

 private:
  struct Served {
    const DiskConfig* config = nullptr;
    BlockDevice* disk = nullptr;
    LocalVolume* volume = nullptr;   // the disk, if it is a local one
    std::unique_ptr<NbdServer> nbd;  // either may be null
    std::unique_ptr<VhostUserServer> vhost;
    std::string error;  // why it is not served
  };

  explicit Server(const Config& config) : config_(config) {}
  Result<void> serve_disk(Served& served);
  Result<void> attach(Served& served);
  Result<void> listen(Served& served);
  Result<void> listen_nbd(Served& served);
  Result<void> listen_vhost(Served& served);
  Result<void> judge(bool keep_going) const;
  StatusSnapshot collect();

  const Config& config_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  // The disks' servers first: the engine's end, in ~Node, must not find them gone, so ~Server ends
  // it.
  std::unique_ptr<Node> node_;
  std::unique_ptr<Workers> workers_;
  std::vector<Served> disks_;
  std::atomic<bool> stopping_{false};
  bool stopped_ = false;

  std::mutex snapshot_mutex_;
  StatusSnapshot snapshot_;
  std::chrono::steady_clock::time_point snapshot_time_;
  bool snapshot_taken_ = false;

  std::mutex drain_mutex_;
  std::set<std::string> draining_;
};

}  // namespace latte
