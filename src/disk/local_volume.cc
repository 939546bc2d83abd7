// LocalVolume, the fast way and the life cycle.
#include "disk/local_volume.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace latte {

LocalVolume::LocalVolume(Reactor& reactor, BlockDevice& device, VolumeTable& table,
                         const volume::Slot& slot)
    : reactor_(reactor),
      device_(device),
      table_(table),
      name_(slot.name),
      id_(slot.id),
      serial_(slot.serial),
      thin_((slot.flags & volume::kThin) != 0),
      parts_(table.geometry().extent_bytes),
      changed_(reactor),
      relay_(reactor, device, *this, stats_) {
  info_ = device.info();
  info_.name = name_;
  info_.alignment_bytes = std::max(kSectorBytes, info_.alignment_bytes);
  // Giving extents back is cheap, whatever the device can do.
  info_.can_discard |= thin_;
  LATTE_CHECK(extent_bytes() % info_.alignment_bytes == 0);
  set_size(slot.size_bytes);
}

LocalVolume::~LocalVolume() = default;

bool LocalVolume::adopt(uint32_t index, uint32_t extent) {
  LATTE_CHECK(!online_);
  if (index >= parts_.size() || parts_.is_mapped(index)) return false;
  map(index, extent);
  return true;
}

void LocalVolume::map(uint32_t part, uint32_t extent) {
  LATTE_CHECK(!parts_.is_mapped(part));
  parts_.map(part, extent);
  ++mapped_;
}

void LocalVolume::unmap(uint32_t part) {
  LATTE_CHECK(parts_.is_mapped(part) && mapped_ > 0);
  parts_.clear(part);
  --mapped_;
}

Task<void> LocalVolume::resize(uint64_t size_bytes) {
  const uint64_t kept_bytes = std::min(size_bytes, info_.size_bytes);
  set_size(size_bytes);
  VolumeMapChange change;
  // The part in which it ends, too: nothing may go on writing behind the end.
  change.gone_from = parts_.part_of(kept_bytes);
  co_await change_copies(change);
}

/// Returns when every copy has followed, and nothing is under way any more for what is gone.
Task<void> LocalVolume::change_copies(VolumeMapChange change) {
  for (VolumeMapCopy* copy : copies_) {
    // As they are now: a change that came while one copy was waited for has told the others
    // already.
    change.size_bytes = info_.size_bytes;
    change.online = online_;
    co_await copy->follow(change);
  }
}

void LocalVolume::set_size(uint64_t size_bytes) {
  LATTE_CHECK(size_bytes > 0 && size_bytes % kBlockBytes == 0);
  info_.size_bytes = size_bytes;
  const uint64_t parts = table_.geometry().extents_for(size_bytes);
  LATTE_CHECK(parts <= volume::kMaxVolumeExtents);
  if (parts > parts_.size()) parts_.resize(parts);
}

bool LocalVolume::refuse(IoRequest& request, IoStatus status) {
  request.status = status;
  return false;
}

IoStatus LocalVolume::validate(const IoRequest& request) const {
  if (request.op == IoOp::flush) return IoStatus::ok;
  const bool inside = range_within(request.offset, request.length, info_.size_bytes);
  const bool aligned = (request.offset | request.length) % info_.alignment_bytes == 0;
  return inside && aligned ? IoStatus::ok : IoStatus::invalid;
}

bool LocalVolume::submit(IoRequest& request) {
  if (!online_) return refuse(request, IoStatus::stopped);
  const IoStatus valid = validate(request);
  if (valid != IoStatus::ok) return refuse(request, valid);
  if (request.op == IoOp::flush) return pass_on(request, {});
  if (request.length == 0) return refuse(request, IoStatus::ok);
  if (request.op == IoOp::read || request.op == IoOp::write) {
    const auto run = parts_.run(request.offset, request.length);
    if (run) return pass_on(request, *run);
    if (request.op == IoOp::read && read_hole(request)) return false;
  }
  ++active_;
  reactor_.spawn(run_slow(request));
  return true;
}

/// Answers a read of parts that are not there.
bool LocalVolume::read_hole(IoRequest& request) {
  const uint32_t last = parts_.part_of(request.offset + request.length - 1);
  for (uint32_t part = parts_.part_of(request.offset); part <= last; ++part)
    if (parts_.is_mapped(part)) return false;
  for (uint32_t i = 0; i < request.iov_count; ++i)
    std::memset(request.iov[i].iov_base, 0, request.iov[i].iov_len);
  request.status = IoStatus::ok;
  stats_.count(request, 0);
  return true;
}

/// `run` is empty for a flush.
bool LocalVolume::pass_on(IoRequest& request, const VolumeParts::Run& run) {
  const uint64_t offset = run.count == 0 ? 0 : device_offset(request.offset, run.extent);
  table_.pin(run.extent, run.count);
  ++active_;
  return relay_.submit(request, offset, run.extent, run.count);
}

/// The device is done with a request to `count` extents.
void LocalVolume::on_relayed(uint32_t extent, uint32_t count) {
  table_.unpin(extent, count);
  end_request();
}

void LocalVolume::end_request() {
  LATTE_CHECK(active_ > 0);
  if (--active_ == 0) changed_.notify_all();
}

size_t LocalVolume::extents(uint64_t offset, uint64_t length, std::span<Extent> out) {
  size_t used = 0;
  const uint64_t end = std::min(offset + length, info_.size_bytes);
  while (offset < end) {
    const uint64_t run = std::min(end, (offset | (extent_bytes() - 1)) + 1) - offset;
    const bool hole = !parts_.is_mapped(parts_.part_of(offset));
    if (used > 0 && out[used - 1].hole == hole) {
      out[used - 1].length += run;
    } else if (used < out.size()) {
      out[used++] = Extent{run, hole, hole};
    } else {
      break;
    }
    offset += run;
  }
  return used;
}

DiskStats LocalVolume::stats() const {
  DiskStats stats = stats_;
  stats.name = name_;
  stats.id = id_;
  stats.size_bytes = info_.size_bytes;
  stats.state = online_ ? "online" : "stopped";
  stats.allocated_bytes = mapped_ * extent_bytes();
  return stats;
}

Task<Result<void>> LocalVolume::stop() {
  if (!std::exchange(online_, false)) co_return Result<void>();
  VolumeMapChange all;
  all.gone_from = 0;
  co_await change_copies(all);
  while (active_ > 0) co_await changed_.wait();
  const IoStatus status = co_await device_.flush();
  if (status == IoStatus::ok) co_return Result<void>();
  co_return Error{Errc::io,
                  fmt::format("disk {}: flush at the stop failed: {}; what was not flushed may be "
                              "lost with the host's power",
                              name_, to_string(status))};
}

}  // namespace latte
