// VolumeTable, its changes: extents given to volumes and taken back, in batches.
#include <fmt/format.h>
#include "base/logging.h"

#include <algorithm>

#include "disk/volume_table.h"

namespace latte {
namespace {

using volume::FreeKind;

/// Longest zeroing in one request: a device that has to write the zeroes does other requests, too.
constexpr uint64_t kZeroBytes = 64u << 20;

}  // namespace

Task<IoStatus> VolumeTable::allocate(uint32_t serial, std::span<const uint32_t> wanted,
                                     std::span<uint32_t> out) {
  LATTE_CHECK(serial != 0 && wanted.size() == out.size() && !wanted.empty());
  Change change;
  change.serial = serial;
  change.list = wanted;
  change.out = out;
  co_return co_await run(change);
}

Task<IoStatus> VolumeTable::release(std::span<const uint32_t> extents) {
  if (extents.empty()) co_return IoStatus::ok;
  Change change;
  change.list = extents;
  co_return co_await run(change);
}

Task<IoStatus> VolumeTable::run(Change& change) {
  changes_.push_back(change);
  if (!running_) {
    running_ = true;
    reactor_.spawn(run_batches());
  }
  while (!change.done) co_await changed_.wait();
  co_return change.status;
}

Task<void> VolumeTable::quiesce() {
  while (running_) co_await changed_.wait();
}

Task<void> VolumeTable::run_batches() {
  while (!changes_.empty()) {
    IntrusiveList<Change> batch;
    while (!changes_.empty()) batch.push_back(changes_.pop_front());
    co_await run_batch(batch);
    // Behind the answers: nobody has to wait for the second copy.
    co_await even_copies();
  }
  running_ = false;
  changed_.notify_all();
}

Task<void> VolumeTable::run_batch(IntrusiveList<Change>& batch) {
  apply_releases(batch);
  IoStatus status = co_await write_dirty();
  if (status != IoStatus::ok) {
    log_error(
        "{}: the volume table can't be written: {}; no space is given or taken back until it can",
        device_.info().name, to_string(status));
    while (!batch.empty()) finish(batch.pop_front(), status);
    co_return;
  }
  free_limbo();
  std::vector<uint32_t> to_zero;
  choose(batch, to_zero);
  if (batch.empty()) co_return;
  status = co_await zero(to_zero);
  if (status == IoStatus::ok) {
    batch.for_each([&](Change& change) {
      for (size_t i = 0; i < change.list.size(); ++i)
        set(change.out[i], volume::Entry{change.serial, change.list[i]});
    });
    status = co_await write_dirty();
  }
  if (status != IoStatus::ok)
    log_error("{}: no space can be given to volumes: {}", device_.info().name, to_string(status));
  while (!batch.empty()) {
    Change& change = batch.pop_front();
    if (status == IoStatus::ok)
      finish(change, status);
    else
      give_up(change, status);
  }
}

/// Enters all that is given back; what else is in the batch stays for choose().
void VolumeTable::apply_releases(IntrusiveList<Change>& batch) {
  batch.for_each([&](Change& change) {
    if (change.serial != 0) return;
    for (const uint32_t extent : change.list) {
      LATTE_CHECK(entries_[extent].serial != 0);
      set(extent, volume::free_entry(FreeKind::unknown));
      limbo_.push_back(extent);
    }
  });
}

/// After a durable write: answers those who gave back, and takes extents for those who want some,
/// as far as there are enough.
void VolumeTable::choose(IntrusiveList<Change>& batch, std::vector<uint32_t>& to_zero) {
  batch.for_each([&](Change& change) {
    if (change.serial == 0) {
      change.unlink();
      finish(change, IoStatus::ok);
      return;
    }
    if (free_extents() < change.list.size()) {
      change.unlink();
      if (!full_said_)
        log_error(
            "{}: the volume area is full: writes to thin volumes fail with \"no space\" where they "
            "need some; remove or discard something",
            device_.info().name);
      full_said_ = true;
      finish(change, IoStatus::no_space);
      return;
    }
    for (uint32_t& extent : change.out) {
      std::deque<uint32_t>& from = zeroed_.empty() ? unknown_ : zeroed_;
      extent = from.front();
      from.pop_front();
      LATTE_CHECK(entries_[extent].serial == 0 && pins_[extent] == 0);
    }
    // Neighbours serve a long request in one piece.
    std::sort(change.out.begin(), change.out.end());
    for (const uint32_t extent : change.out)
      if (entries_[extent] == volume::free_entry(FreeKind::unknown)) to_zero.push_back(extent);
  });
}

/// An allocation that failed: whatever of it is on the device is taken back with the next batch.
void VolumeTable::give_up(Change& change, IoStatus status) {
  for (const uint32_t extent : change.out) {
    set(extent, volume::free_entry(FreeKind::unknown));
    limbo_.push_back(extent);
  }
  finish(change, status);
}

void VolumeTable::finish(Change& change, IoStatus status) {
  change.status = status;
  change.done = true;
  changed_.notify_all();
}

/// What was given up is so durably now.
void VolumeTable::free_limbo() {
  if (!limbo_.empty()) full_said_ = false;
  for (const uint32_t extent : limbo_) {
    if (pins_[extent] == 0) {
      unknown_.push_back(extent);
    } else {
      leaving_[extent] = true;
      ++waiting_for_pins_;
    }
  }
  limbo_.clear();
}

/// The last request to an extent has ended.
void VolumeTable::idle(uint32_t extent) {
  if (!leaving_[extent]) return;
  leaving_[extent] = false;
  --waiting_for_pins_;
  unknown_.push_back(extent);
}

/// Zeroes extents, durably.
Task<IoStatus> VolumeTable::zero(std::vector<uint32_t>& extents) {
  if (extents.empty()) co_return IoStatus::ok;
  std::sort(extents.begin(), extents.end());
  const size_t most = std::max<size_t>(1, kZeroBytes / geometry_.extent_bytes);
  for (size_t at = 0; at < extents.size();) {
    size_t end = at + 1;
    while (end < extents.size() && end - at < most && extents[end] == extents[end - 1] + 1) ++end;
    const uint64_t length = (end - at) * uint64_t{geometry_.extent_bytes};
    written_bytes_ += length;
    const IoStatus status = co_await device_.write_zeroes(device_offset(extents[at]), length);
    if (status != IoStatus::ok) co_return status;
    at = end;
  }
  co_return co_await device_.flush();
}

}  // namespace latte
