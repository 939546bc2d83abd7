// HybridDisk, what it tells about itself: numbers, and which blocks are zero.
#include <fmt/format.h>

#include <algorithm>

#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// A cloud request this old shows as "cloud-stalled".
constexpr TimeNs kStalledNs = 5 * kSecond;

}  // namespace

const char* cloud_health(const DiskStats& disk) {
  if (disk.cloud_error != IoStatus::ok) return "errors";
  return disk.cloud_waiting_ns > kStalledNs ? "stalled" : "ok";
}

size_t HybridDisk::extents(uint64_t offset, uint64_t length, std::span<Extent> out) {
  size_t used = 0;
  const uint64_t end = std::min(offset + length, info_.size_bytes);
  while (offset < end && used < out.size()) {
    const Lba lba(offset / kBlockBytes);
    const uint64_t blocks = round_up(end, kBlockBytes) / kBlockBytes - lba.value;
    const Run run = resolve(lba, blocks);
    const uint64_t run_bytes = std::min(end, (lba.value + run.count) * kBlockBytes) - offset;
    const bool zero = run.source == Run::Source::zero;
    Extent extent{run_bytes, zero, zero};
    if (run.source == Run::Source::base) {
      const size_t found = cloud_.base().extents(offset, run_bytes, std::span(&extent, 1));
      LATTE_CHECK(found == 1 && extent.length > 0 && extent.length <= run_bytes);
    }
    offset += extent.length;
    const bool same =
        used > 0 && out[used - 1].zero == extent.zero && out[used - 1].hole == extent.hole;
    if (same)
      out[used - 1].length += extent.length;
    else
      out[used++] = extent;
  }
  return used;
}

DiskStats HybridDisk::stats() const {
  DiskStats stats = stats_;
  stats.name = options_.name;
  stats.id = id_;
  stats.size_bytes = info_.size_bytes;
  stats.generation = super_.generation;
  stats.lag_ns = lag_ns();
  stats.dirty_bytes = dirty_bytes_;
  stats.unapplied_bytes = cloud_index_.size() * kBlockBytes;
  stats.cached_blocks = local_index_.size();
  if (dispatch_ != nullptr) stats.dispatch_trainings = dispatch_->trainings();
  stats.cloud.reads = base_traffic_.reads + log_traffic_.reads;
  stats.cloud.writes = base_traffic_.writes + log_traffic_.writes;
  stats.cloud.read_bytes = base_traffic_.read_bytes + log_traffic_.read_bytes;
  stats.cloud.write_bytes = base_traffic_.write_bytes + log_traffic_.write_bytes;
  stats.cloud.errors = base_traffic_.errors + log_traffic_.errors;
  stats.cloud_meter = meter_->stats();
  stats.reason = reason_;
  const TimeNs waiting_ns = std::max(base_retry_.oldest_wait_ns(), log_retry_.oldest_wait_ns());
  stats.cloud_waiting_ns = waiting_ns;
  stats.cloud_error = log_retry_.last_error();
  if (stats.cloud_error == IoStatus::ok) stats.cloud_error = base_retry_.last_error();
  switch (state_) {
    case State::recovering:
      stats.state = "recovering";
      break;
    case State::handing_over:
      stats.state = "handing-over";
      break;
    case State::resizing:
      stats.state = "resizing";
      break;
    case State::fenced:
      stats.state = "fenced";
      break;
    case State::failed:
      stats.state = "failed";
      break;
    case State::stopped:
      stats.state = "stopped";
      break;
    case State::online:
      stats.state = "online";
      if (!local_usable()) {
        stats.state = "degraded";
        if (stats.reason.empty()) stats.reason = "the pool failed; running from the cloud";
      } else if (waiting_ns > kStalledNs) {
        stats.state = "cloud-stalled";
        stats.reason =
            fmt::format("cloud volume {} has not answered for {} s (last: {})", cloud_.name(),
                        waiting_ns / kSecond, to_string(stats.cloud_error));
      }
      break;
  }
  return stats;
}

}  // namespace latte
