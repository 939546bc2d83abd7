// LocalVolume, the fast way and the life cycle.
#include "disk/local_volume.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace latte {

/// A request that was passed on to the device.
struct LocalVolume::Slot {
  LocalVolume* volume = nullptr;
  IoRequest below;
  IoRequest* request = nullptr;
  uint32_t extent = 0;
  uint32_t count = 0;
  TimeNs start_ns = 0;
  Slot* next_free = nullptr;
  Repeater relay;
};

/// Waits for a request to the device, and hands over to the client's without a way through the
/// ready queue.
Repeater LocalVolume::relay(Slot& slot) {
  struct Ended {
    Slot& slot;
    bool await_ready() const { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<>) {
      const std::coroutine_handle<> waiter = slot.request->waiter;
      slot.volume->settle(slot);
      return waiter;
    }
    void await_resume() const {}
  };
  for (;;) co_await Ended{slot};
}

LocalVolume::LocalVolume(Reactor& reactor, BlockDevice& device, VolumeTable& table,
                         const volume::Slot& slot)
    : reactor_(reactor),
      device_(device),
      table_(table),
      name_(slot.name),
      id_(slot.id),
      serial_(slot.serial),
      thin_((slot.flags & volume::kThin) != 0),
      extent_bytes_(table.geometry().extent_bytes),
      shift_(static_cast<unsigned>(std::countr_zero(extent_bytes_))),
      changed_(reactor) {
  info_ = device.info();
  info_.name = name_;
  info_.alignment_bytes = std::max(kSectorBytes, info_.alignment_bytes);
  // Giving extents back is cheap, whatever the device can do.
  info_.can_discard |= thin_;
  LATTE_CHECK(extent_bytes_ % info_.alignment_bytes == 0);
  set_size(slot.size_bytes);
}

LocalVolume::~LocalVolume() = default;

bool LocalVolume::adopt(uint32_t index, uint32_t extent) {
  LATTE_CHECK(!online_);
  if (index >= map_.size() || map_[index] != 0) return false;
  map(index, extent);
  return true;
}

void LocalVolume::map(uint32_t part, uint32_t extent) {
  LATTE_CHECK(!is_mapped(part));
  map_[part] = extent + 1;
  ++mapped_;
}

void LocalVolume::unmap(uint32_t part) {
  LATTE_CHECK(is_mapped(part) && mapped_ > 0);
  map_[part] = 0;
  --mapped_;
}

Task<void> LocalVolume::resize(uint64_t size_bytes) {
  const uint64_t kept_bytes = std::min(size_bytes, info_.size_bytes);
  set_size(size_bytes);
  VolumeMapChange change;
  // The part in which it ends, too: nothing may go on writing behind the end.
  change.gone_from = part_of(kept_bytes);
  co_await change_copies(change);
}

/// Returns when every copy has followed, and nothing is under way any more for what is gone.
Task<void> LocalVolume::change_copies(VolumeMapChange change) {
  change.size_bytes = info_.size_bytes;
  change.online = online_;
  for (VolumeMapCopy* copy : copies_) co_await copy->follow(change);
}

void LocalVolume::set_size(uint64_t size_bytes) {
  LATTE_CHECK(size_bytes > 0 && size_bytes % kBlockBytes == 0);
  info_.size_bytes = size_bytes;
  const uint64_t parts = table_.geometry().extents_for(size_bytes);
  LATTE_CHECK(parts <= volume::kMaxVolumeExtents);
  if (parts > map_.size()) map_.resize(parts);
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
  if (request.op == IoOp::flush) return pass_on(request, 0, 0, 0);
  if (request.length == 0) return refuse(request, IoStatus::ok);
  if (request.op == IoOp::read || request.op == IoOp::write) {
    const uint32_t first = part_of(request.offset);
    const uint32_t last = part_of(request.offset + request.length - 1);
    if (neighbours(first, last)) {
      const uint32_t extent = extent_of(first);
      return pass_on(request, device_offset(request.offset, extent), extent, last - first + 1);
    }
    if (request.op == IoOp::read && read_hole(request, first, last)) return false;
  }
  ++active_;
  reactor_.spawn(run_slow(request));
  return true;
}

/// Whether the parts are all there, one behind the other on the device.
bool LocalVolume::neighbours(uint32_t first, uint32_t last) const {
  if (!is_mapped(first)) return false;
  for (uint32_t part = first + 1; part <= last; ++part)
    if (map_[part] != map_[part - 1] + 1 || !is_mapped(part)) return false;
  return true;
}

/// Answers a read of parts that are not there.
bool LocalVolume::read_hole(IoRequest& request, uint32_t first, uint32_t last) {
  for (uint32_t part = first; part <= last; ++part)
    if (is_mapped(part)) return false;
  for (uint32_t i = 0; i < request.iov_count; ++i)
    std::memset(request.iov[i].iov_base, 0, request.iov[i].iov_len);
  request.status = IoStatus::ok;
  stats_.count(request, 0);
  return true;
}

bool LocalVolume::pass_on(IoRequest& request, uint64_t offset, uint32_t extent, uint32_t parts) {
  Slot& slot = slots_.take([this](Slot& made) {
    made.volume = this;
    made.relay = relay(made);
  });
  slot.request = &request;
  slot.extent = extent;
  slot.count = parts;
  slot.start_ns = reactor_.now();
  slot.below.ask_as(request, offset);
  slot.below.waiter = slot.relay.handle();
  table_.pin(extent, parts);
  ++active_;
  if (device_.submit(slot.below)) return true;
  settle(slot);
  return false;
}

/// The device is done with the slot's request.
void LocalVolume::settle(Slot& slot) {
  IoRequest& request = *slot.request;
  request.status = slot.below.status;
  table_.unpin(slot.extent, slot.count);
  stats_.count(request, reactor_.now() - slot.start_ns);
  slot.request = nullptr;
  slots_.give_back(slot);
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
    const uint64_t run = std::min(end, (offset | (extent_bytes_ - 1)) + 1) - offset;
    const bool hole = !is_mapped(part_of(offset));
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
  stats.allocated_bytes = mapped_ * extent_bytes_;
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
