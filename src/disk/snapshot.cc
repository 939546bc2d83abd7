// HybridDisk, snapshots: the disk as it is, kept under a name in the cloud, while clients go on.
//
// What a take-over finds is base and cloud log as they are when their owner is gone, at any
// instant: it makes a prefix of the writes of them. So a snapshot is just that instant: the writes
// that were acknowledged when it was ordered are shipped first, then everything that would change
// base or log is held back, both are kept, and it goes on. Writes that came meanwhile may be in it,
// too: it is the disk after one of its writes, none before that missing. The pool takes writes all
// the time.
//
// Limits: shipping takes kShipNs at most, what is under way to the cloud kHoldNs; else there is no
// snapshot.
#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "base/plain_name.h"
#include "base/planted.h"
#include "device/cloud_snapshots.h"
#include "disk/cloud_super.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

constexpr TimeNs kShipNs = 60 * kSecond;
constexpr TimeNs kHoldNs = 5 * kSecond;
constexpr TimeNs kLookNs = kMillisecond;
constexpr size_t kMaxNameBytes = 64;

}  // namespace

Error HybridDisk::no_snapshot(Errc code, const std::string& snapshot,
                              const std::string& why) const {
  return Error{code, fmt::format("disk {}: snapshot {}: {}", name(), snapshot, why)};
}

/// Errors: unsupported, invalid (not online), busy.
Result<CloudSnapshots*> HybridDisk::snapshot_service() const {
  CloudSnapshots* const service = cloud_.snapshots();
  if (service == nullptr)
    return Error{Errc::unsupported, fmt::format("disk {}: {} has no snapshots; a disk on rbd: has",
                                                name(), cloud_.name())};
  if (state_ != State::online)
    return Error{Errc::invalid, fmt::format("disk {}: it is not online here: {}", name(), reason_)};
  if (resizing_ || snapshotting_)
    return Error{Errc::busy,
                 fmt::format("disk {}: {}; try again", name(),
                             resizing_ ? "it is being resized" : "its snapshots are in use")};
  return service;
}

Result<CloudSnapshots*> HybridDisk::snapshot_service(const std::string& snapshot) const {
  if (!plain_name(snapshot) || snapshot.size() > kMaxNameBytes)
    return no_snapshot(Errc::invalid, snapshot,
                       fmt::format("a name has up to {} letters, digits, '_', '-' and '.', and "
                                   "begins with none of the last two",
                                   kMaxNameBytes));
  return snapshot_service();
}

Task<Result<void>> HybridDisk::make_snapshot(std::string snapshot) {
  const auto service = snapshot_service(snapshot);
  if (!service) co_return service.error();
  snapshotting_ = true;
  Result<void> made = co_await keep_in_cloud(*service.value(), snapshot);
  snapshotting_ = false;
  co_return made;
}

Task<Result<void>> HybridDisk::remove_snapshot(std::string snapshot) {
  const auto service = snapshot_service(snapshot);
  if (!service) co_return service.error();
  snapshotting_ = true;
  Result<void> removed = co_await service.value()->remove(snapshot);
  snapshotting_ = false;
  co_return removed;
}

Task<Result<std::vector<CloudSnapshot>>> HybridDisk::list_snapshots() {
  const auto service = snapshot_service();
  if (!service) co_return service.error();
  snapshotting_ = true;
  auto listed = co_await service.value()->list();
  snapshotting_ = false;
  co_return listed;
}

/// Waits until the cloud has every write that has been admitted by now.
Task<bool> HybridDisk::ship_all_so_far() {
  const Seq seq = next_seq_ - 1;
  const TimeNs deadline_ns = reactor_.now() + kShipNs;
  while (contiguous_seq() < seq) {
    if (state_ != State::online || background_stop_ || reactor_.now() >= deadline_ns)
      co_return false;
    urgent_seq_ = std::max(urgent_seq_, seq);
    ship_work_.notify_all();
    co_await reactor_.sleep(kLookNs);
  }
  co_return true;
}

Task<Result<void>> HybridDisk::keep_in_cloud(CloudSnapshots& service, std::string snapshot) {
  const TimeNs start_ns = reactor_.now();
  log::CloudSuper super = super_;
  const SuperBytes bytes = seal_to_bytes(super);
  const auto prepared = co_await service.prepare(snapshot, bytes);
  if (!prepared) co_return prepared;
  const bool shipped = co_await ship_all_so_far();
  if (!shipped)
    co_return no_snapshot(Errc::io, snapshot,
                          fmt::format("the cloud did not take what is to be in it within {} s{}{}; "
                                      "there is none",
                                      kShipNs / kSecond, reason_.empty() ? "" : ": ", reason_));
  const TimeNs held_ns = reactor_.now();
  Result<void> taken = no_snapshot(Errc::io, snapshot,
                                   "the cloud does not answer what was sent to it; there is none");
  const bool quiet = co_await hold_cloud(held_ns + kHoldNs);
  if (quiet && state_ == State::online) taken = co_await service.take(snapshot);
  base_retry_.let_writes();
  log_retry_.let_writes();
  const TimeNs let_go_ns = reactor_.now();
  // Who was fenced in between does not know of which moment it is.
  if (taken && state_ != State::online)
    taken = no_snapshot(Errc::busy, snapshot, "the disk was stopped meanwhile; there is none");
  if (!taken) co_return taken;
  const auto finished = co_await service.finish(snapshot);
  if (finished)
    log_info("disk {}: snapshot {}: shipped {} ms, the cloud held {} ms", name(), snapshot,
             (held_ns - start_ns) / kMillisecond, (let_go_ns - held_ns) / kMillisecond);
  co_return finished;
}

/// False if something is still under way at `deadline_ns`.
Task<bool> HybridDisk::hold_cloud(TimeNs deadline_ns) {
  if (planted(Planted::snapshot_without_hold)) co_return true;
  const bool base = co_await base_retry_.hold_writes(deadline_ns);
  const bool log = co_await log_retry_.hold_writes(deadline_ns);
  co_return base&& log;
}

}  // namespace latte
