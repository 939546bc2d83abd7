// Host, a disk goes back to one of its snapshots.
//
// Steps: 1. a superblock says that a rollback is under way: the disk is nobody's, who had it is
// fenced, and until step 4 nobody adopts it. 2. The service makes base and log what they were. 3.
// The log is cut at its last complete prefix, as at a take-over: a snapshot is an instant.
// 4. The snapshot's superblock, with a generation of its own and without an owner. If one of them
// ends half way, doing all of them again is the remedy: 1 finds its own mark, 2 and 3 may be done
// again. Limits: none.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/logging.h"
#include "base/planted.h"
#include "disk/cloud_super.h"
#include "disk/host.h"

namespace latte {
namespace {

/// The superblock of what may be rolled back.
Task<Result<log::CloudSuper>> read_nobodys(CloudVolume& cloud) {
  const auto bytes = co_await cloud.read_super();
  if (!bytes) co_return bytes.error();
  const auto super = log::parse_cloud_super_to_roll_back(bytes.value(), cloud.name());
  if (!super || super.value().owner_pool_id.is_nil()) co_return super;
  co_return Error{Errc::busy,
                  fmt::format("{} belongs to the host of the pool {}; hand it over before (latte "
                              "handover; if that host is gone, latte takeover and then handover)",
                              cloud.name(), super.value().owner_pool_id.to_string())};
}

Task<Result<log::CloudSuper>> find_super(CloudSnapshots& service, const log::CloudSuper& disk,
                                         std::string snapshot, std::string where) {
  const auto listed = co_await service.list();
  if (!listed) co_return listed.error();
  const auto& all = listed.value();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const CloudSnapshot& one) { return one.name == snapshot; });
  if (found == all.end()) co_return no_such_snapshot(where, snapshot);
  const auto super = log::parse_cloud_super(found->super, where + ", snapshot " + snapshot);
  if (super && super.value().disk_id != disk.disk_id)
    co_return Error{Errc::damaged,
                    fmt::format("{}: the snapshot {} is of another disk", where, snapshot)};
  co_return super;
}

}  // namespace

Task<Result<std::string>> Host::roll_back(Reactor& reactor, CloudVolume& cloud,
                                          std::string disk_name, std::string snapshot,
                                          Progress* progress) {
  CloudSnapshots* const service = cloud.snapshots();
  if (service == nullptr)
    co_return on_disk(disk_name, Error{Errc::unsupported, cloud.name() + " has no snapshots"});
  const auto current = co_await read_nobodys(cloud);
  if (!current) co_return on_disk(disk_name, current.error());
  const auto kept = co_await find_super(*service, current.value(), snapshot, cloud.name());
  if (!kept) co_return on_disk(disk_name, kept.error());

  log::CloudSuper under_way = current.value();
  under_way.generation = under_way.epoch = current.value().generation + 1;
  if (planted(Planted::roll_back_unmarked))
    log::seal(under_way);
  else
    log::seal_rolling_back(under_way);
  const SuperBytes mark = bytes_of(under_way);
  auto swapped = co_await cloud.swap_super(current.value().generation, under_way.generation, mark);
  if (!swapped) co_return on_disk(disk_name, swapped.error());

  const auto rolled = co_await service->roll_back(snapshot, [=](uint64_t done, uint64_t total) {
    progress->total_bytes = total;
    progress->done_bytes = done;
  });
  if (!rolled) co_return on_disk(disk_name, rolled.error());

  log::CloudSuper next = kept.value();
  next.owner_pool_id = Uuid{};
  next.generation = next.epoch = under_way.generation + 1;
  std::memcpy(next.name, under_way.name, sizeof(next.name));
  std::string report;
  const auto cut = co_await cut_cloud_log(reactor, cloud, next, &report);
  if (!cut) co_return on_disk(disk_name, cut.error());
  const SuperBytes bytes = seal_to_bytes(next);
  swapped = co_await cloud.swap_super(under_way.generation, next.generation, bytes);
  if (!swapped) co_return on_disk(disk_name, swapped.error());
  const auto released = co_await cloud.release();
  if (!released) log_warning("disk {}: {}", disk_name, released.error().message);
  co_return report;
}

}  // namespace latte
