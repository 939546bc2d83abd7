// Server: `latte serve` without its signals: every disk of a configuration attached and served over
// NBD, vhost-user-blk or both.
//
// Start-up is a table of named steps, each timed in the log: pool, then for each disk attach and
// listen, then accept. Clients are let in once every disk is attached.
//
// Thread rule: start() and stop() on the main thread; the rest on any thread but the engine's,
// between the two. disks_ changes on the engine's thread only, once clients are let in. Limits:
// statistics are at most kSnapshotAgeMs old, so that however many ask, the engine answers ten times
// a second.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/advisor.h"
#include "control/config.h"
#include "control/node.h"
#include "control/status.h"
#include "control/trace_recording.h"
#include "control/volume_command.h"
#include "control/workers.h"
#include "device/tracing_device.h"
#include "disk/host.h"
#include "frontend/nbd_server.h"
#include "frontend/vhost_user_server.h"

namespace latte {

class Server {
 public:
  static constexpr int kSnapshotAgeMs = 100;

  struct Options {
    bool keep_going = false;  ///< serve what can be served if some disks can't
    bool standby = false;     ///< another host's disks wait for take_over(); none served will do
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
  /// Makes this host the owner of a disk and serves it; says what was found. Errors: not_found,
  /// invalid (local), busy (another move is under way), exists (served here), as Host::take_over()
  /// and Host::attach().
  Result<std::string> take_over(const std::string& disk_name);
  /// Host::hand_over(), and serves the disk no more. Errors: its, and as above.
  Result<std::string> hand_over(const std::string& disk_name);
  /// Another size of a disk, of either kind; guests learn it at once, NBD clients when they connect
  /// again. Errors: not_found, busy (another move is under way), as Host::resize() and
  /// VolumeSpace::resize().
  Result<std::string> resize(const std::string& disk_name, uint64_t size_bytes, bool force);
  /// HybridDisk::make_snapshot() and its siblings; a sentence about what was done. Errors:
  /// not_found, invalid (local), busy, and theirs.
  Result<std::string> make_snapshot(const std::string& disk_name, const std::string& snapshot);
  Result<std::string> remove_snapshot(const std::string& disk_name, const std::string& snapshot);
  Result<std::vector<CloudSnapshot>> list_snapshots(const std::string& disk_name);
  /// Records the requests that clients make of a disk from now on, until the recording is destroyed
  /// (before the server). Errors: not_found, busy (a recording is under way; not served here now).
  Result<std::unique_ptr<TraceRecording>> record(const std::string& disk_name);
  const Config& config() const { return config_; }
  /// Makes, lists, removes or resizes volumes (docs/reference/cli.md, latte volume); a guest of a
  /// volume that is served learns its new size at once. Errors: busy (stopping), as VolumeSpace's.
  Result<std::vector<VolumeFacts>> change_volumes(const VolumeCommand& command);

 private:
  struct Served {
    const DiskConfig* config = nullptr;
    BlockDevice* disk = nullptr;  // what the front ends serve: the disk, behind `tracing`
    TracingDevice* tracing = nullptr;
    std::shared_ptr<IoTraceRing> trace_ring;  // while a recording is under way
    LocalVolume* volume = nullptr;            // the disk, if it is a local one
    std::unique_ptr<NbdServer> nbd;           // either may be null
    std::unique_ptr<VhostUserServer> vhost;
    std::string error;     // why it is not served
    bool standby = false;  // another host's, and meant to be
  };

  Server(const Config& config, Options options) : config_(config), options_(options) {}
  Result<Served*> begin_move(const std::string& disk_name);
  Result<std::string> take_over(Served& served);
  void stop_front_ends(Served& served);
  void start_front_ends(Served& served);
  Result<void> serve_disk(Served& served);
  Result<void> attach(Served& served);
  void offer(Served& served, BlockDevice& disk);
  void stop_recording(Served& served);
  Result<void> listen(Served& served);
  Result<void> listen_nbd(Served& served);
  Result<void> listen_vhost(Served& served);
  Result<void> judge() const;
  StatusSnapshot collect();
  void start_advisor();
  /// What was collected is out of date: a disk came or went.
  void forget_snapshot();

  const Config& config_;
  const Options options_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  // The disks' servers first: the engine's end, in ~Node, must not find them gone, so ~Server ends
  // it.
  std::unique_ptr<Node> node_;
  std::unique_ptr<Workers> workers_;
  std::unique_ptr<Advisor> advisor_;                     // if a disk has one
  std::vector<std::unique_ptr<TracingDevice>> tracing_;  // of disks that were retired, too
  std::vector<Served> disks_;
  std::atomic<bool> stopping_{false};
  bool stopped_ = false;

  std::mutex snapshot_mutex_;
  StatusSnapshot snapshot_;
  std::chrono::steady_clock::time_point snapshot_time_;
  bool snapshot_taken_ = false;

  std::mutex drain_mutex_;
  std::set<std::string> draining_;
  std::mutex move_mutex_;  // one take-over or hand-over at a time
};

}  // namespace latte
