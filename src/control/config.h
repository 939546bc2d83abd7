// The configuration file: TOML in, checked values out.
//
// Invariants of a Config:
//  1. Everything in it was checked on its own and against the rest, so that what follows can only
//     fail for what is outside the file.
//  2. All paths are absolute; relative ones were relative to the file.
// Thread rule: none; a plain value. Limits: kMaxConfigBytes, kMaxDisks disks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/logging.h"
#include "base/result.h"
#include "control/advisor_config.h"
#include "control/cloud_address.h"
#include "control/core_list.h"
#include "device/cloud_price.h"
#include "disk/host.h"
#include "frontend/listen_address.h"
#include "frontend/vhost_user_server.h"

namespace latte {

/// Largest configuration file read.
inline constexpr size_t kMaxConfigBytes = 1u << 20;
/// Size of a disk's cloud log if nothing is said. Its file is sparse.
inline constexpr uint64_t kDefaultCloudLogBytes = 1ull << 30;
/// Smallest cloud log: eight segments, so that shipping, applying and cutting don't wait for each
/// other.
inline constexpr uint64_t kMinCloudLogBytes = 8 * CloudOptions{}.segment_bytes;
/// A pool has at least this many segments for each disk: one that is written, one that is emptied.
inline constexpr uint64_t kMinSegmentsPerDisk = 2;

/// Smallest area for local disks: less is nothing but its table.
inline constexpr uint64_t kMinVolumesBytes = 4u << 20;

/// Memory for acknowledged writes on their way to the pool.
inline constexpr uint64_t kMinWriteBufferBytes = 1u << 20;
inline constexpr uint64_t kMaxWriteBufferBytes = 1u << 30;

/// Most reactor threads: queues of one disk spread over no more, and each has a ring in the kernel.
inline constexpr unsigned kMaxReactors = 64;

struct PoolConfig {
  std::string path;            ///< file or block device
  uint64_t size_bytes = 0;     ///< of the log; multiple of kBlockBytes
  uint64_t volumes_bytes = 0;  ///< of the area for local disks behind it; likewise; 0: none
  PoolOptions options;
  uint64_t write_buffer_bytes = 0;  ///< 0: none
  std::string write_buffer_directory = "/dev/shm";
  policy::AdmissionOptions admission;

  /// Of the file or block device.
  uint64_t device_bytes() const { return size_bytes + volumes_bytes; }
};

enum class DiskKind : uint8_t {
  hybrid,  ///< pool and cloud
  local,   ///< a volume on the pool's device, nothing else
};

struct DiskConfig {
  DiskOptions options;  ///< of a local disk name and size count, the latter when it is made
  DiskKind kind = DiskKind::hybrid;
  bool thin = false;  ///< a local disk's
  CloudAddress cloud;
  uint64_t cloud_log_bytes = kDefaultCloudLogBytes;
  std::optional<AdvisorConfig> advisor;
  std::optional<ListenAddress> nbd;    ///< one of the two at least
  std::optional<ListenAddress> vhost;  ///< a unix socket
  VhostUserServerOptions vhost_options;
};

struct ReactorConfig {
  Polling polling = Polling::adaptive;  ///< also of all vhost queues (DiskConfig::vhost_options)
  unsigned threads = 1;                 ///< the engine's, and workers for guests' queues
  std::vector<unsigned> cores;          ///< one for each thread, or none
  std::vector<unsigned> node_cores;     ///< of the NUMA node all threads stay on, or none

  /// Where thread `index` stays; empty: anywhere.
  std::vector<unsigned> cores_of(unsigned index) const {
    return cores.empty() ? node_cores : std::vector<unsigned>{cores[index]};
  }
};

struct Config {
  std::string file;  ///< as it was named, for messages
  PoolConfig pool;
  std::vector<DiskConfig> disks;  ///< at least one
  ReactorConfig reactor;
  PriceTable prices;
  std::string control_socket;  ///< empty: none
  std::optional<ListenAddress> http;
  LogLevel log_level = LogLevel::info;

  /// The disk of this name, or null.
  const DiskConfig* find(std::string_view name) const;
  size_t count(DiskKind kind) const;
};

/// Reads and checks a configuration. Errors: invalid, unsupported, not_found, io; the message
/// starts with FILE:LINE:COLUMN where there is such a place.
Result<Config> load_config(const std::string& file);
/// The same for `text`; `file` is for messages, relative paths are relative to `directory`
/// (absolute).
Result<Config> parse_config(std::string_view text, const std::string& file,
                            const std::string& directory);

}  // namespace latte
