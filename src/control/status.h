// What the server tells about itself, as JSON (`latte status --json`, /status) and for people.
//
// The JSON's keys are a contract with other tools: keys are added, never renamed or given another
// meaning. Thread rule: none; plain values.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "control/advisor.h"
#include "control/config.h"
#include "disk/host.h"
#include "disk/stats.h"

namespace latte {

/// What the engine does not know about a disk of the configuration.
struct DiskFacts {
  DiskOptions options;
  DiskKind kind = DiskKind::hybrid;
  bool thin = false;
  std::string cloud;    ///< empty for a local disk
  std::string nbd_uri;  ///< empty if it is not served over NBD
  std::string vhost;    ///< the socket; empty if it is no vhost-user-blk device
  bool vhost_connected = false;
  std::string error;     ///< why it is not served
  bool standby = false;  ///< another host's or nobody's, and waiting for a take-over
  uint32_t clients = 0;
  uint64_t cloud_log_bytes = 0;         ///< 0 for a local disk
  std::optional<AdvisorFacts> advisor;  ///< if the disk has one
};

/// The area for local disks.
struct VolumesFacts {
  uint64_t size_bytes = 0;  ///< room for volumes
  uint64_t free_bytes = 0;  ///< of it in no volume
};

/// The pool's write buffer.
struct WriteBufferFacts {
  uint64_t size_bytes = 0;  ///< 0: none
  uint64_t used_bytes = 0;  ///< acknowledged, on their way to the pool
};

struct StatusSnapshot {
  HostStats host;
  WriteBufferFacts write_buffer;
  std::optional<VolumesFacts> volumes;  ///< none if the pool has no such area
  std::vector<DiskFacts> disks;         ///< all of the configuration, in its order
  uint64_t uptime_s = 0;
  PriceTable prices;

  /// The engine's numbers of a disk, or null if it is not attached.
  const DiskStats* stats_of(const std::string& name) const;
};

/// The status as JSON.
nlohmann::ordered_json status_json(const StatusSnapshot& snapshot);
/// The same for a person, from the JSON, which may come from another version: what is missing is
/// left out.
std::string status_text(const nlohmann::ordered_json& status);

}  // namespace latte
