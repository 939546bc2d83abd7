// Host, disks that move: another host's disk becomes this one's, from the cloud alone; this one's
// is given up.
#include <fmt/format.h>

#include <algorithm>

#include "disk/cloud_image.h"
#include "disk/host.h"
#include "disk/hybrid_disk.h"
#include "disk/pool.h"

namespace latte {
namespace {

Error not_served(const std::string& disk_name) {
  return Error{Errc::not_found, fmt::format("disk {}: not served here", disk_name)};
}

}  // namespace

Task<Result<void>> Host::take_over(DiskOptions disk, CloudVolume& cloud, std::string* report) {
  const auto read = co_await read_super(cloud, disk);
  if (!read) co_return read.error();
  const log::CloudSuper current = read.value();
  const log::StreamSlot* slot = pool_->space().find_stream(current.disk_id);
  const Uuid own = pool_->space().id();
  if (current.owner_pool_id == own && slot != nullptr && slot->epoch == current.epoch) {
    if (report != nullptr) *report = "this host owns the disk already; nothing was done";
    co_return Result<void>();
  }
  log::CloudSuper next = current;
  next.owner_pool_id = own;
  next.epoch = 0;  // differs, so that it becomes the new generation
  // 1. From here on the old owner can't write.
  auto swapped = co_await swap_super(cloud, current, next);
  if (!swapped) co_return on_disk(disk.name, swapped.error());
  // 2. End the old history at its last complete prefix.
  auto cut = co_await cut_cloud_log(reactor_, cloud, next, report);
  if (!cut) co_return on_disk(disk.name, cut.error());
  // 3. Only now does this pool know the disk: a take-over that was interrupted is seen by its
  // epoch.
  co_return co_await register_disk(disk, next, cloud.log().info().size_bytes);
}

Task<Result<void>> Host::hand_over(const std::string& disk_name) {
  HybridDisk* disk = find(disk_name);
  if (disk == nullptr) co_return not_served(disk_name);
  co_return co_await disk->hand_over();
}

Task<Result<void>> Host::resize(const std::string& disk_name, uint64_t size_bytes, bool force) {
  HybridDisk* disk = find(disk_name);
  if (disk == nullptr) co_return not_served(disk_name);
  co_return co_await disk->resize(size_bytes, force);
}

Task<Result<void>> Host::make_snapshot(std::string disk_name, std::string snapshot) {
  HybridDisk* disk = find(disk_name);
  if (disk == nullptr) co_return not_served(disk_name);
  co_return co_await disk->make_snapshot(std::move(snapshot));
}

Task<Result<void>> Host::remove_snapshot(std::string disk_name, std::string snapshot) {
  HybridDisk* disk = find(disk_name);
  if (disk == nullptr) co_return not_served(disk_name);
  co_return co_await disk->remove_snapshot(std::move(snapshot));
}

Task<Result<std::vector<CloudSnapshot>>> Host::list_snapshots(std::string disk_name) {
  HybridDisk* disk = find(disk_name);
  if (disk == nullptr) co_return not_served(disk_name);
  co_return co_await disk->list_snapshots();
}

Task<Result<void>> Host::retire(const std::string& disk_name) {
  const auto found = std::find_if(disks_.begin(), disks_.end(),
                                  [&](const auto& disk) { return disk->name() == disk_name; });
  if (found == disks_.end()) co_return Result<void>();
  if (!(*found)->fenced())
    co_return Error{Errc::exists, fmt::format("disk {}: this host serves it already; nothing was "
                                              "done",
                                              disk_name)};
  HybridDisk& disk = **found;
  retired_.push_back(std::move(*found));
  disks_.erase(found);
  co_return co_await disk.retire();
}

Task<Result<void>> Host::cut_cloud_log(Reactor& reactor, CloudVolume& cloud,
                                       const log::CloudSuper& super, std::string* report) {
  auto opened =
      co_await log::SegmentSpace::open(reactor, cloud.log(), log::SpaceKind::cloud_log, true);
  if (!opened) co_return opened.error();
  auto space = opened.take();
  auto settled = co_await space->settle();
  if (!settled) co_return settled.error();
  const CloudImage image = co_await load_cloud_image(reactor, *space, super.disk_id, false);
  if (image.unreadable > 0)
    co_return Error{Errc::io,
                    fmt::format("{}: {} segments of the cloud log can't be read now; run latte "
                                "takeover again when the cloud answers",
                                cloud.name(), image.unreadable)};
  if (!image.damage.empty())
    co_return Error{Errc::damaged,
                    cloud.name() + ": " + image.damage.front() +
                        "; run latte check, and restore the cloud volume from a copy"};
  const uint64_t beyond = image.highest > image.contiguous ? image.highest - image.contiguous : 0;
  if (report != nullptr)
    *report = fmt::format(
        "generation {}: content up to write {}; {} later writes without their "
        "predecessors were dropped",
        super.generation, image.contiguous.value, beyond);
  if (beyond == 0) co_return Result<void>();
  log::LogStream::Options options;
  options.disk_id = super.disk_id;
  options.generation = super.generation;
  options.keep_seqs = true;
  log::WriteAccount account;
  log::LogStream stream(reactor, *space, options, account);
  stream.resume(image.stream);
  log::Append append;
  append.entry.seq = image.contiguous.value + 1;
  append.entry.count = beyond;
  append.entry.kind = log::EntryKind::cut;
  if (!stream.admit(append, 0))
    co_return Error{Errc::no_space, cloud.name() + ": the cloud log is full"};
  co_await stream.completed(append);
  IoStatus status = append.status;
  if (status == IoStatus::ok) status = co_await stream.flush();
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("{}: writing the cloud log failed: {}", cloud.name(),
                                          to_string(status))};
  co_return Result<void>();
}

}  // namespace latte
