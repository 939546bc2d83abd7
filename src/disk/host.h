// Host: one pool and the hybrid disks that live on it. The engine's outer face: command line,
// server and simulator all come in here.
//
// Thread rule: everything on the host's reactor.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "base/uuid.h"
#include "device/cloud_limits.h"
#include "device/cloud_snapshots.h"
#include "device/cloud_volume.h"
#include "disk/stats.h"
#include "log/log_format.h"
#include "log/segment_reader.h"
#include "policy/admission.h"
#include "policy/stream_detector.h"
#include "policy/tier_chooser.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"
#include "runtime/task.h"

namespace latte {

/// What a completed FLUSH (or FUA write) promises.
enum class Durability : uint8_t {
  local,  ///< survives power loss of this host; the cloud follows within max_lag
  cloud,  ///< survives the loss of this host
};

/// No bound on the lag: absorb until the pool is full.
inline constexpr TimeNs kNoLagLimit = INT64_MAX;

/// What sequential streams are about to read, fetched from the cloud into memory.
struct ReadAheadOptions {
  static constexpr uint64_t kMaxBytes = 16u << 20;  ///< held for a disk
  uint64_t window_bytes = 4u << 20;  ///< at most so far ahead of a stream; 0 = not at all
  uint64_t stream_blocks = policy::StreamDetector::kLeastBlocks;  ///< what makes a stream
};

struct DiskOptions {
  std::string name;         ///< unique on the host, at most kMaxDiskNameBytes
  uint64_t size_bytes = 0;  ///< multiple of kBlockBytes
  Durability durability = Durability::local;
  TimeNs max_lag_ns = 2 * kSecond;
  DispatchOptions dispatch;  ///< of reads whose blocks both tiers have
  ReadAheadOptions read_ahead{};
  CloudLimits cloud_limits{};  ///< of what the disk asks of its cloud volume while it is attached
};
inline constexpr size_t kMaxDiskNameBytes = 63;
/// Most disks on one pool.
inline constexpr size_t kMaxDisks = 32;

struct PoolOptions {
  uint64_t segment_bytes = 4u << 20;  ///< 64 KiB to 64 MiB, a power of two
  uint64_t log_bytes = 0;             ///< of the device's beginning; 0: all of it
};

struct CloudOptions {
  uint64_t segment_bytes = 4u << 20;  ///< of the cloud log; the log's device sets its size
};

/// Progress of something long, readable from any thread.
struct Progress {
  std::atomic<uint64_t> done_bytes{0};
  std::atomic<uint64_t> total_bytes{0};
};

/// One problem found by check; those with `damage` set are damage, the others are notes.
struct Finding {
  bool damage = false;
  std::string text;
};

class HybridDisk;
class Pool;

class Host {
 public:
  /// `pool_device` outlives the host.
  Host(Reactor& reactor, BlockDevice& pool_device, policy::AdmissionOptions admission = {});
  ~Host();

  /// Writes an empty pool. Refuses (exists) if the device already starts with a pool's superblock
  /// of any version. Errors: invalid (too small, geometry), exists, io.
  static Task<Result<void>> format_pool(Reactor& reactor, BlockDevice& pool_device,
                                        PoolOptions options);
  /// Writes an empty disk to `cloud` (whose read_super() says not_found) without an owner yet.
  static Task<Result<void>> format_cloud(Reactor& reactor, CloudVolume& cloud, DiskOptions disk,
                                         CloudOptions options);

  /// Reads the pool's superblock. Errors: not_found (no pool), unsupported, damaged, io.
  Task<Result<void>> open_pool();
  /// True if the pool knows the disk of this name.
  bool knows(const std::string& disk_name) const;
  /// REQUIRES open_pool().
  Uuid pool_id() const;

  /// First attachment of a disk that has no owner yet (fresh from format_cloud). Errors: not_owner.
  Task<Result<void>> adopt_new(DiskOptions disk, CloudVolume& cloud);
  /// Recovers the disk and starts it. The returned disk is the host's; it is served until stop().
  /// `cloud` outlives the host. Errors: not_owner (take-over needed), damaged, unsupported, io.
  Task<Result<HybridDisk*>> attach(DiskOptions disk, CloudVolume& cloud);
  /// Makes this host the owner: fences the old one, cuts the cloud log at its last complete prefix
  /// and forgets what this pool held of the disk. No-op if this host owns it already. The disk must
  /// not be attached here. `report` gets a sentence for the operator.
  Task<Result<void>> take_over(DiskOptions disk, CloudVolume& cloud, std::string* report);

  HybridDisk* find(const std::string& disk_name);
  /// HybridDisk::hand_over(). Errors: not_found, and its own.
  Task<Result<void>> hand_over(const std::string& disk_name);
  /// HybridDisk::resize(). Errors: not_found, and its own.
  Task<Result<void>> resize(const std::string& disk_name, uint64_t size_bytes, bool force);
  /// Makes the disk what it was when the snapshot was made, and nobody's, as after a hand-over: the
  /// next host adopts it. It must be nobody's before, or what an interrupted rollback left; the
  /// snapshots stay. An error behind the first step leaves no disk until it is done again. Errors:
  /// unsupported (the cloud has no snapshots), busy (it has an owner), not_found, damaged, io.
  static Task<Result<std::string>> roll_back(Reactor& reactor, CloudVolume& cloud,
                                             std::string disk_name, std::string snapshot,
                                             Progress* progress);
  /// HybridDisk::make_snapshot() and its siblings. Errors: not_found, and theirs.
  Task<Result<void>> make_snapshot(std::string disk_name, std::string snapshot);
  Task<Result<void>> remove_snapshot(std::string disk_name, std::string snapshot);
  Task<Result<std::vector<CloudSnapshot>>> list_snapshots(std::string disk_name);
  /// Lets go of a disk that is fenced here, so that take_over() and attach() can bring it back;
  /// no-op if it is not attached. Nobody may submit to it any more. Errors: exists (served here,
  /// and this host's), io.
  Task<Result<void>> retire(const std::string& disk_name);
  /// Everything of the disk into its base; `progress` is kept up to date. Errors: not_found, io,
  /// not_owner (fenced meanwhile).
  Task<Result<void>> drain(const std::string& disk_name, Progress* progress);
  /// Clean stop: refuses new requests, finishes those under way, flushes, stops background work.
  /// Error: io, if a pool failed and the cloud did not get all of it instead; see
  /// HybridDisk::stop().
  Task<Result<void>> stop();
  HostStats stats();

  /// Offline verification of the pool and, for each disk, of cloud log and base, reading every byte
  /// that has a checksum. Writes nothing. The result is an error only if the check could not run.
  struct CheckedDisk {
    DiskOptions disk;
    CloudVolume* cloud;
  };
  Task<Result<std::vector<Finding>>> check(std::vector<CheckedDisk> disks, Progress* progress);

 private:
  /// The error with the disk's name in front.
  static Error on_disk(const std::string& name, Error error);
  Task<log::PoolMark> check_cloud(CheckedDisk& item, const log::CloudSuper& super,
                                  std::vector<Finding>& findings, Progress* progress);
  Task<void> check_local(CheckedDisk& item, const log::CloudSuper& super, log::PoolMark mark,
                         std::vector<Finding>& findings, Progress* progress);
  Task<Result<log::CloudSuper>> read_super(CloudVolume& cloud, const DiskOptions& disk);
  Task<Result<void>> swap_super(CloudVolume& cloud, const log::CloudSuper& current,
                                log::CloudSuper& next);
  static Task<Result<void>> cut_cloud_log(Reactor& reactor, CloudVolume& cloud,
                                          const log::CloudSuper& super, std::string* report);
  Task<Result<void>> register_disk(const DiskOptions& disk, const log::CloudSuper& super,
                                   uint64_t cloud_log_bytes);

  Reactor& reactor_;
  BlockDevice& pool_device_;
  policy::AdmissionOptions admission_;
  std::unique_ptr<Pool> pool_;
  std::vector<log::FoundSegment> found_;  // in the pool, when it was opened
  std::vector<std::unique_ptr<HybridDisk>> disks_;
  std::vector<std::unique_ptr<HybridDisk>> retired_;  // a late client may still look at one
};

}  // namespace latte
