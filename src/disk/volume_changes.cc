// VolumeSpace, its changes: volumes made, removed and resized.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/logging.h"
#include "disk/volume_space.h"

namespace latte {

using volume::Slot;
using volume::Super;

Error VolumeSpace::on_volume(std::string_view name, Errc code, std::string what) const {
  return Error{code, fmt::format("volume {}: {}", name, what)};
}

Error VolumeSpace::write_failed(std::string_view name, IoStatus status) const {
  return on_volume(name, status == IoStatus::no_space ? Errc::no_space : Errc::io,
                   fmt::format("writing to {} failed: {}; `latte volume ls` shows what there is",
                               device_.info().name, to_string(status)));
}

const Slot* VolumeSpace::find_slot(std::string_view name) const {
  for (const Slot& slot : super_.volumes)
    if (!slot.id.is_nil() && name == slot.name) return &slot;
  return nullptr;
}

size_t VolumeSpace::index_of(const Slot& slot) const {
  return static_cast<size_t>(&slot - super_.volumes.data());
}

Result<size_t> VolumeSpace::usable(const std::string& name) const {
  const Slot* slot = find_slot(name);
  if (slot == nullptr)
    return on_volume(name, Errc::not_found,
                     fmt::format("{} has no such volume; latte create makes those of the "
                                 "configuration, latte volume create others",
                                 device_.info().name));
  const size_t index = index_of(*slot);
  if (!volumes_[index].damage.empty())
    return on_volume(name, Errc::damaged, volumes_[index].damage);
  return index;
}

/// Makes `next` durable in both copies, the one that is not the newest first. After an error the
/// present superblock goes on, but the next start may find either: callers leave in place what
/// `next` needs.
Task<IoStatus> VolumeSpace::write_super(Super next) {
  next.counter = super_.counter + 1;
  seal(next);
  Buffer block(kBlockBytes);
  std::memcpy(block.data(), &next, sizeof(next));
  const unsigned first = 1 - newest_;
  for (unsigned i = 0; i < 2; ++i) {
    const unsigned copy = i == 0 ? first : 1 - first;
    IoStatus status = co_await device_.write(area_.offset + copy * kBlockBytes, block.span());
    if (status == IoStatus::ok) status = co_await device_.flush();
    if (status != IoStatus::ok && copy == first) co_return status;
    if (status != IoStatus::ok) {
      log_warning("{}: the second copy of the volumes' superblock can't be written: {}",
                  device_.info().name, to_string(status));
      break;
    }
    super_ = next;
    newest_ = copy;
  }
  co_return IoStatus::ok;
}

Result<void> VolumeSpace::check_new(const VolumeOptions& options) const {
  if (!volume::valid_name(options.name))
    return on_volume(options.name, Errc::invalid,
                     fmt::format("is no name; use at most {} letters, digits, '_', '-' and '.', "
                                 "beginning with one of the first three",
                                 volume::kNameBytes - 1));
  const uint64_t most = volume::kMaxVolumeExtents * geometry_.extent_bytes;
  if (options.size_bytes == 0 || options.size_bytes % kBlockBytes != 0 || options.size_bytes > most)
    return on_volume(options.name, Errc::invalid,
                     fmt::format("a size of {} bytes is not possible; it must be a multiple of {}, "
                                 "above 0, at most {}",
                                 options.size_bytes, kBlockBytes, most));
  return {};
}

Task<Result<void>> VolumeSpace::create(VolumeOptions options) {
  const Result<void> sane = check_new(options);
  if (!sane) co_return sane;
  co_await changing_.acquire();
  const Result<void> result = co_await create_locked(options);
  changing_.release();
  co_return result;
}

Task<Result<void>> VolumeSpace::create_locked(VolumeOptions& options) {
  const std::string& name = options.name;
  if (has(name))
    co_return on_volume(name, Errc::exists, "there is one of this name already; it was left alone");
  size_t index = 0;
  while (index < volume::kMaxVolumes && !super_.volumes[index].id.is_nil()) ++index;
  if (index == volume::kMaxVolumes || super_.next_serial == UINT32_MAX)
    co_return on_volume(name, Errc::no_space,
                        fmt::format("{} has its {} volumes already; remove one",
                                    device_.info().name, volume::kMaxVolumes));
  const uint64_t extents = geometry_.extents_for(options.size_bytes);
  if (!options.thin && extents > table_.free_extents())
    co_return on_volume(
        name, Errc::no_space,
        fmt::format("{} bytes are wanted, {} are free for volumes; remove something, make it "
                    "smaller, or thin",
                    extents * geometry_.extent_bytes, free_bytes()));
  Slot slot{};
  slot.id = Uuid::from_random(reactor_.random().next(), reactor_.random().next());
  std::memcpy(slot.name, name.data(), name.size());
  slot.size_bytes = options.size_bytes;
  slot.serial = super_.next_serial;
  slot.flags = options.thin ? volume::kThin : 0;
  auto device = std::make_unique<LocalVolume>(reactor_, device_, table_, slot);
  Super next = super_;
  ++next.next_serial;
  if (!options.thin) {
    // The serial counts as used before the table knows it: what an interrupted create leaves there
    // is nobody's for good.
    IoStatus status = co_await write_super(next);
    if (status == IoStatus::ok) status = co_await device->fill(0, static_cast<uint32_t>(extents));
    if (status != IoStatus::ok) co_return write_failed(name, status);
  }
  next.volumes[index] = slot;
  const IoStatus status = co_await write_super(next);
  if (status != IoStatus::ok) co_return write_failed(name, status);
  volumes_[index] = Volume{};
  volumes_[index].device = std::move(device);
  co_return Result<void>();
}

Task<Result<void>> VolumeSpace::remove(std::string name) {
  co_await changing_.acquire();
  const Slot* slot = find_slot(name);
  Result<void> result;
  if (slot == nullptr) {
    result =
        on_volume(name, Errc::not_found, fmt::format("{} has no such volume", device_.info().name));
  } else if (volumes_[index_of(*slot)].attached) {
    result = on_volume(name, Errc::busy, "it is served; stop the server first");
  } else {
    const size_t index = index_of(*slot);
    Super next = super_;
    next.volumes[index] = Slot{};
    const IoStatus status = co_await write_super(next);
    if (status == IoStatus::ok) {
      // From here on it is gone; what a crash leaves of it in the table belongs to nobody.
      const IoStatus dropped = co_await volumes_[index].device->drop(0);
      if (dropped != IoStatus::ok)
        log_warning("volume {}: removed; its space is free at the next start: {}", name,
                    to_string(dropped));
      volumes_[index] = Volume{};
    } else {
      result = write_failed(name, status);
    }
  }
  changing_.release();
  co_return result;
}

Task<Result<void>> VolumeSpace::resize(std::string name, uint64_t size_bytes, bool force) {
  VolumeOptions wanted;
  wanted.name = name;
  wanted.size_bytes = size_bytes;
  Result<void> result = check_new(wanted);
  if (!result) co_return result;
  co_await changing_.acquire();
  const Result<size_t> index = usable(name);
  if (!index) {
    result = index.error();
  } else {
    const uint64_t now_bytes = super_.volumes[index.value()].size_bytes;
    if (size_bytes > now_bytes)
      result = co_await grow(index.value(), size_bytes);
    else if (size_bytes < now_bytes && force)
      result = co_await shrink(index.value(), size_bytes);
    else if (size_bytes < now_bytes)
      result = on_volume(name, Errc::invalid,
                         fmt::format("it has {} bytes, and what lies behind {} would be lost; "
                                     "--force does it all the same",
                                     now_bytes, size_bytes));
  }
  changing_.release();
  co_return result;
}

Task<Result<void>> VolumeSpace::grow(size_t index, uint64_t size_bytes) {
  LocalVolume& device = *volumes_[index].device;
  const auto parts = static_cast<uint32_t>(geometry_.extents_for(device.info().size_bytes));
  const uint64_t wanted = geometry_.extents_for(size_bytes);
  if (!device.thin() && wanted - parts > table_.free_extents())
    co_return on_volume(
        device.name(), Errc::no_space,
        fmt::format("{} more bytes are wanted, {} are free for volumes; remove something",
                    (wanted - parts) * geometry_.extent_bytes, free_bytes()));
  IoStatus status = co_await device.zero_behind_end();
  if (status == IoStatus::ok && !device.thin())
    status = co_await device.fill(parts, static_cast<uint32_t>(wanted));
  if (status == IoStatus::ok) {
    Super next = super_;
    next.volumes[index].size_bytes = size_bytes;
    status = co_await write_super(next);
    if (status == IoStatus::ok) co_await device.resize(size_bytes);
  }
  if (status == IoStatus::ok) co_return Result<void>();
  co_return write_failed(device.name(), status);
}

Task<Result<void>> VolumeSpace::shrink(size_t index, uint64_t size_bytes) {
  LocalVolume& device = *volumes_[index].device;
  Super next = super_;
  next.volumes[index].size_bytes = size_bytes;
  IoStatus status = co_await write_super(next);
  if (status != IoStatus::ok) co_return write_failed(device.name(), status);
  co_await device.resize(size_bytes);
  status = co_await device.drop(static_cast<uint32_t>(geometry_.extents_for(size_bytes)));
  if (status == IoStatus::ok) co_return Result<void>();
  co_return on_volume(device.name(), Errc::io,
                      fmt::format("it is smaller now, but its space is free only at the next "
                                  "start: {}",
                                  to_string(status)));
}

}  // namespace latte
