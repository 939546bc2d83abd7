// What a running host tells about itself: plain numbers, copied out on the reactor, formatted
// elsewhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "base/io_status.h"
#include "base/units.h"
#include "base/uuid.h"
#include "device/cloud_meter.h"
#include "device/traffic.h"
#include "runtime/block_device.h"

namespace latte {

/// Bytes written to the pool since the server started, by cause.
struct PoolWrites {
  uint64_t user = 0;         ///< clients' data blocks
  uint64_t admission = 0;    ///< copies of cloud blocks worth keeping
  uint64_t reinsertion = 0;  ///< blocks kept when their segment was reclaimed
  uint64_t metadata = 0;     ///< record headers, segment headers and tables, superblocks
};

struct PoolStats {
  uint64_t size_bytes = 0;    ///< room for segments
  uint64_t used_bytes = 0;    ///< in segments that are not free
  uint64_t dirty_bytes = 0;   ///< data the cloud log does not hold yet
  uint64_t index_bytes = 0;   ///< memory of index, checksums and access counts of all disks
  uint64_t staged_bytes = 0;  ///< held in memory after their first miss
  bool failed = false;        ///< the pool device failed; disks run from the cloud
  PoolWrites written;
};

struct DiskStats {
  std::string name;
  Uuid id;
  std::string state;  ///< "online", "degraded" (pool failed), "cloud-stalled", "fenced", "stopped",
                      ///< "failed"
  std::string reason;  ///< why it is not online; empty otherwise
  uint64_t size_bytes = 0;
  uint64_t generation = 0;
  TimeNs lag_ns = 0;         ///< age of the oldest acknowledged write the cloud log does not hold
  uint64_t dirty_bytes = 0;  ///< not yet in the cloud log
  uint64_t unapplied_bytes = 0;  ///< in the cloud log, not yet in the base
  uint64_t cached_blocks = 0;    ///< blocks readable from the pool
  uint64_t allocated_bytes = 0;  ///< local disks: extents of the volume area it has
  uint64_t reads = 0;
  uint64_t writes = 0;
  uint64_t flushes = 0;
  uint64_t discards = 0;
  uint64_t read_bytes = 0;
  uint64_t write_bytes = 0;
  uint64_t read_hit_blocks = 0;
  uint64_t read_miss_blocks = 0;
  uint64_t cloud_served_blocks = 0;     ///< clean in the pool, but read from the cloud to be sooner
  uint64_t hedged_blocks = 0;           ///< asked of the cloud as well, since the pool took long
  uint64_t early_blocks = 0;            ///< written straight to the cloud, to be sooner
  uint64_t early_overtaken_blocks = 0;  ///< likewise, but then the pool was
  uint64_t dispatch_trainings = 0;      ///< of the dispatcher's model
  uint64_t admitted_blocks = 0;         ///< copied into the pool because reads missed them
  uint64_t unadmitted_blocks = 0;  ///< worth a copy, but clients' data, memory or budget came first
  uint64_t memory_served_blocks =
      0;                             ///< staged after their first miss, or just fetched for another
  uint64_t stream_blocks = 0;        ///< missed by sequential streams, which pass the pool by
  uint64_t ahead_blocks = 0;         ///< fetched from the cloud ahead of a stream
  uint64_t ahead_served_blocks = 0;  ///< of them: what clients then asked for
  uint64_t checksum_errors = 0;      ///< blocks whose CRC did not match when read
  uint64_t lost_blocks = 0;          ///< blocks whose only copy is gone
  uint64_t throttled_ns = 0;         ///< sum of waits put on writers by back-pressure
  Histogram read_latency;
  Histogram write_latency;
  TimeNs cloud_waiting_ns = 0;          ///< since when the oldest request to it has no answer
  IoStatus cloud_error = IoStatus::ok;  ///< how the latest request to it failed, if it did
  DeviceTraffic cloud;                  ///< background work included
  CloudMeterStats cloud_meter;          ///< the same as the cloud counts it, and its limits

  /// Of the blocks read, the part that took no request to the cloud, prefetched ones not counted;
  /// 0 if none was.
  double read_hit_ratio() const;
  /// A request has ended after `took_ns`.
  void count(const IoRequest& request, TimeNs took_ns);
  /// Adds the requests of `other`, which serves the same disk.
  void add_requests(const DiskStats& other);
};

/// "ok", "errors" (the latest request failed and is tried again) or "stalled" (one has had no
/// answer for 5 s).
const char* cloud_health(const DiskStats& disk);

struct HostStats {
  PoolStats pool;
  std::vector<DiskStats> disks;
};

}  // namespace latte
