// Node: this host's side of a configuration, opened: engine thread, pool, its volume area, and the
// cloud volumes of the disks. What every subcommand but `status` stands on.
//
// Invariants:
//  1. While a Node lives, no other process has the pool: it is locked.
//  2. A disk that can't be opened is an error of its own; the others go on.
// Thread rule: one thread, not the engine's; engine() may be called from several. Blocks.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/config.h"
#include "control/engine_thread.h"
#include "device/cloud_volume.h"
#include "device/file_device.h"
#include "device/leased_volume.h"
#include "device/shm_buffer_memory.h"
#include "device/write_buffer.h"
#include "disk/host.h"
#include "disk/volume_space.h"

namespace latte {

class Node {
 public:
  enum class Access : uint8_t {
    read_write,
    read_only,  ///< for check: nothing can be written, sizes are not compared with the
                ///< configuration
  };
  struct Options {
    Access access = Access::read_write;
    bool read_pool = true;  ///< Host::open_pool() and the volume area, too
  };

  /// Opens and locks the pool. Waits up to kLockWaitMs for a lock: a killed process may hold it for
  /// some milliseconds more. Errors: not_found (latte create), busy (names the holder), as
  /// Host::open_pool().
  static Result<std::unique_ptr<Node>> open(const Config& config, Options options);
  /// Stops the host and the engine.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// Opens a disk's cloud volume, which stays until the node's end; one that no attached disk uses
  /// is used again. Errors: as open_cloud_volume().
  Result<CloudVolume*> open_cloud(const DiskConfig& disk);
  /// open_cloud() and Host::attach(). Errors: of either.
  Result<HybridDisk*> attach(const DiskConfig& disk);
  /// Host::take_over() with the volume that attach() is going to use. A sentence about what was
  /// found. With `force_disk_id` also from an owner that may be alive, where the volume can't fence
  /// it. Errors: of either, invalid (another id, or a volume that fences).
  Result<std::string> take_over(const DiskConfig& disk, const std::string& force_disk_id = {});
  /// The volume of a local disk, online. Errors: not_found (latte create), as volumes() and
  /// VolumeSpace::attach().
  Result<LocalVolume*> attach_local(const DiskConfig& disk);
  /// Opens the volume area, if the configuration has one; volumes() says how that went. open() does
  /// it with read_pool.
  void open_volumes(const PoolConfig& pool);
  /// The volume area. Errors: invalid (the configuration has none), as VolumeSpace::open(): a bad
  /// area leaves the other disks alone.
  Result<VolumeSpace*> volumes();
  /// Clean stop of all disks; then only engine() and stats work. Twice is fine.
  /// Error: as Host::stop().
  Result<void> stop_host();

  EngineThread& engine() { return *engine_; }
  Host& host() { return *host_; }
  /// Bytes of the pool's write buffer, and how many of them are on their way to the pool. Engine
  /// thread.
  const WriteBuffer& write_buffer() const { return *buffer_; }
  uint64_t pool_size_bytes() const { return pool_->info().size_bytes; }

  static constexpr int kLockWaitMs = 2000;

 private:
  explicit Node(Options options) : options_(options) {}
  Result<void> lock_pool();
  Result<void> recover_buffer(const PoolConfig& pool);
  Result<void> begin_buffer(const PoolConfig& pool);
  Error pool_error(const Error& of_buffer);
  Result<void> force_unfenced(const DiskConfig& disk, CloudVolume& cloud,
                              const std::string& disk_id);

  const Options options_;
  std::unique_ptr<EngineThread> engine_;  // its reactor outlives everything below
  std::unique_ptr<FileDevice> pool_;
  std::unique_ptr<ShmBufferMemory> buffer_memory_;
  std::unique_ptr<WriteBuffer> buffer_;  // before the pool's log
  std::vector<std::unique_ptr<CloudVolume>> clouds_;
  std::map<std::string, CloudVolume*> unused_;  // of clouds_, by disk
  std::vector<LeasedVolume*> leased_;           // of clouds_
  std::unique_ptr<Host> host_;
  std::unique_ptr<VolumeSpace> volumes_;
  Error volumes_error_{};  // why there is none
  bool pool_read_ = false;
  bool stopped_ = false;
};

}  // namespace latte
