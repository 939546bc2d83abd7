// VolumeSpace: format and open. Changes are in volume_changes.cc.
#include "disk/volume_space.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/logging.h"

namespace latte {
namespace {

using volume::Slot;
using volume::Super;

/// Where the area is, for people.
std::string place(const BlockDevice& device, VolumeArea area) {
  return fmt::format("{} (volumes, from byte {} on)", device.info().name, area.offset);
}

volume::Geometry geometry_of(const Super& super) {
  return volume::Geometry{super.extent_count, super.extent_bytes};
}

}  // namespace

Task<Result<void>> VolumeSpace::format(Reactor& reactor, BlockDevice& device, VolumeArea area,
                                       FormatOptions options) {
  LATTE_CHECK(range_within(area.offset, area.size_bytes, device.info().size_bytes));
  LATTE_CHECK(options.extent_bytes >= volume::kMinExtentBytes &&
              options.extent_bytes <= volume::kMaxExtentBytes &&
              std::has_single_bit(options.extent_bytes));
  const volume::Geometry geometry = volume::fit_geometry(area.size_bytes, options.extent_bytes);
  if (geometry.extent_count == 0)
    co_return Error{Errc::invalid,
                    fmt::format("{}: {} bytes are too few for volumes; make it at least {} bytes",
                                place(device, area), area.size_bytes,
                                volume::Geometry{1, options.extent_bytes}.area_bytes())};
  Super super{};
  super.space_id = Uuid::from_random(reactor.random().next(), reactor.random().next());
  super.counter = 1;
  super.extent_count = geometry.extent_count;
  super.extent_bytes = geometry.extent_bytes;
  super.next_serial = 1;
  seal(super);
  const auto kind = options.zeroed ? volume::FreeKind::zeroes : volume::FreeKind::unknown;
  IoStatus status =
      co_await VolumeTable::format(device, area.offset, geometry, super.space_id, kind);
  Buffer blocks(2 * kBlockBytes);
  std::memcpy(blocks.data(), &super, sizeof(super));
  std::memcpy(blocks.data() + kBlockBytes, &super, sizeof(super));
  // The superblock last: with it the area exists.
  if (status == IoStatus::ok) status = co_await device.write(area.offset, blocks.span());
  if (status == IoStatus::ok) status = co_await device.flush();
  if (status != IoStatus::ok)
    co_return Error{
        Errc::io, fmt::format("{}: formatting failed: {}", place(device, area), to_string(status))};
  co_return Result<void>();
}

Task<Result<std::unique_ptr<VolumeSpace>>> VolumeSpace::open(Reactor& reactor, BlockDevice& device,
                                                             VolumeArea area, Access access) {
  const std::string where = place(device, area);
  const DeviceInfo& info = device.info();
  if (!range_within(area.offset, area.size_bytes, info.size_bytes) ||
      area.size_bytes < volume::kTableOffset || kBlockBytes % info.alignment_bytes != 0)
    co_return Error{Errc::invalid,
                    fmt::format("{}: {} bytes with alignment {} can't hold {} bytes of volumes; "
                                "correct the sizes in the configuration",
                                where, info.size_bytes, info.alignment_bytes, area.size_bytes)};
  Buffer blocks(2 * kBlockBytes);
  const std::span<std::byte> halves[2] = {blocks.span().first(kBlockBytes),
                                          blocks.span().last(kBlockBytes)};
  IoStatus read[2];
  for (unsigned copy = 0; copy < 2; ++copy)
    read[copy] = co_await device.read(area.offset + copy * kBlockBytes, halves[copy]);
  if (read[0] != IoStatus::ok && read[1] != IoStatus::ok)
    co_return Error{Errc::io,
                    fmt::format("{}: reading the superblock: {}", where, to_string(read[0]))};
  for (unsigned copy = 0; copy < 2; ++copy)
    if (read[copy] != IoStatus::ok) std::memset(halves[copy].data(), 0, kBlockBytes);
  const auto first = volume::parse_super(halves[0], where);
  const auto second = volume::parse_super(halves[1], where);
  // Another version may have written one copy so far: that is for a build that knows it.
  for (const auto* copy : {&first, &second})
    if (!*copy && copy->error().code == Errc::unsupported) co_return copy->error();
  if (!first && !second) {
    Error error = first.error().code == Errc::damaged ? first.error() : second.error();
    if (error.code == Errc::damaged)
      error.message +=
          " in both copies; restore the area from a copy, or make the pool anew: its volumes can't "
          "be told apart without";
    co_return error;
  }
  const bool second_newer = second && (!first || second.value().counter > first.value().counter);
  const Super& super = second_newer ? second.value() : first.value();
  if (geometry_of(super).area_bytes() > area.size_bytes)
    co_return Error{Errc::damaged,
                    fmt::format("{}: cut short: {} bytes, but the superblock says {}; correct "
                                "pool.volumes, or restore the device",
                                where, area.size_bytes, geometry_of(super).area_bytes())};
  std::unique_ptr<VolumeSpace> space(
      new VolumeSpace(reactor, device, area, super, second_newer ? 1 : 0));
  if (!first || !second)
    space->findings_.push_back(Finding{
        false,
        fmt::format("{}; the other copy is good", (first ? second : first).error().message)});
  co_await space->table_.load();
  space->adopt_extents();
  if (access == Access::read_only) co_return space;
  IoStatus status = co_await space->table_.settle();
  // Both copies as they are to be, whatever was left of an interrupted write.
  if (status == IoStatus::ok) status = co_await space->write_super(space->super_);
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("{}: writing the table or the superblock: {}", where,
                                          to_string(status))};
  for (const Finding& finding : space->findings_)
    if (finding.damage)
      log_error("{}", finding.text);
    else
      log_warning("{}", finding.text);
  co_return space;
}

VolumeSpace::VolumeSpace(Reactor& reactor, BlockDevice& device, VolumeArea area, const Super& super,
                         unsigned newest)
    : reactor_(reactor),
      device_(device),
      area_(area),
      super_(super),
      newest_(newest),
      geometry_(geometry_of(super)),
      table_(reactor, device, area.offset, geometry_, super.space_id),
      changing_(reactor, 1) {
  for (size_t i = 0; i < volume::kMaxVolumes; ++i) {
    if (super_.volumes[i].id.is_nil()) continue;
    volumes_[i].device = std::make_unique<LocalVolume>(reactor, device, table_, super_.volumes[i]);
  }
}

/// Gives the volumes what the table says is theirs, and looks whether that is all.
void VolumeSpace::adopt_extents() {
  std::array<bool, volume::kMaxVolumes> twice{};
  const auto owned = [&](uint32_t extent, volume::Entry entry) {
    for (size_t i = 0; i < volume::kMaxVolumes; ++i) {
      LocalVolume* device = volumes_[i].device.get();
      if (device == nullptr || device->serial() != entry.serial) continue;
      if (entry.extent >= device->extent_count()) return false;
      // Which of the two is right nobody knows; both stay as they are.
      if (!device->adopt(entry.extent, extent)) twice[i] = true;
      return true;
    }
    return false;
  };
  const uint64_t orphans = table_.sweep(owned);
  if (orphans > 0)
    findings_.push_back(
        Finding{false, fmt::format("{}: {} extents belonged to nobody (a change was "
                                   "interrupted); they are free",
                                   place(device_, area_), orphans)});
  if (table_.uneven_blocks() > 0)
    findings_.push_back(Finding{
        false, fmt::format("{}: {} blocks of the table had one good copy only (a change was "
                           "interrupted, or the copy is damaged)",
                           place(device_, area_), table_.uneven_blocks())});
  for (const uint32_t block : table_.lost_blocks())
    findings_.push_back(Finding{
        true,
        fmt::format(
            "{}: both copies of block {} of the table are damaged: who has the "
            "extents {} to {} is lost; they are out of use",
            place(device_, area_), block, block * volume::kTableEntries,
            std::min<uint64_t>((block + 1) * volume::kTableEntries, geometry_.extent_count) - 1)});
  for (size_t i = 0; i < volume::kMaxVolumes; ++i)
    if (volumes_[i].device) judge(i, twice[i]);
}

/// Whether all of a volume is known.
void VolumeSpace::judge(size_t index, bool twice) {
  Volume& item = volumes_[index];
  const LocalVolume& device = *item.device;
  const uint64_t missing = device.extent_count() - device.mapped();
  if (twice) {
    item.damage = "the table has a part of it twice";
  } else if (!device.thin() && missing > 0) {
    item.damage =
        fmt::format("{} of its {} extents are not in the table", missing, device.extent_count());
  } else if (device.thin() && missing > 0 && !table_.lost_blocks().empty()) {
    item.damage = "it is thin, and parts of it may be in the damaged blocks of the table";
  } else {
    return;
  }
  item.damage += "; restore the area from a copy, or give the volume up: latte volume rm";
  findings_.push_back(Finding{true, fmt::format("volume {}: {}", device.name(), item.damage)});
}

Result<LocalVolume*> VolumeSpace::attach(const std::string& name) {
  const Result<size_t> index = usable(name);
  if (!index) return index.error();
  Volume& item = volumes_[index.value()];
  item.attached = true;
  item.device->start();
  return item.device.get();
}

std::vector<VolumeFacts> VolumeSpace::list() const {
  std::vector<VolumeFacts> out;
  for (const Volume& item : volumes_) {
    if (!item.device) continue;
    const LocalVolume& device = *item.device;
    out.push_back({device.name(), device.id(), device.info().size_bytes,
                   device.mapped() * geometry_.extent_bytes, device.thin(), item.attached,
                   item.damage});
  }
  std::sort(out.begin(), out.end(),
            [](const VolumeFacts& a, const VolumeFacts& b) { return a.name < b.name; });
  return out;
}

std::vector<DiskStats> VolumeSpace::stats() const {
  std::vector<DiskStats> out;
  for (const Volume& item : volumes_)
    if (item.attached) out.push_back(item.device->stats());
  return out;
}

Task<Result<void>> VolumeSpace::stop() {
  Result<void> result;
  for (Volume& item : volumes_) {
    if (!item.device) continue;
    const Result<void> stopped = co_await item.device->stop();
    if (!stopped) log_error("{}", stopped.error().message);
    if (result) result = stopped;
  }
  co_await changing_.acquire();
  co_await table_.quiesce();
  changing_.release();
  co_return result;
}

}  // namespace latte
