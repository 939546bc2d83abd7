// HybridDisk, reads that both tiers could answer: blocks that are clean in the pool. A dispatcher
// says which tier is likely to be sooner, so that at many hits the cloud's bandwidth does not idle.
//
// What makes it safe whatever the dispatcher says (promises 4 to 6):
//  - Data from the cloud count only if they match the checksums that the index has for the pool's
//    copy: the same version, or the pool is read after all.
//  - The cloud is waited for a few times as long as it usually takes. After that, or if it fails,
//  the
//    pool is read; what comes from the cloud later goes into memory of its own and tells only how
//    long it took.
//
// Limits: kMaxWaitNs of waiting; kMaxDispatchedBytes of memory for reads of the cloud.
#include <algorithm>
#include <cstring>

#include "base/planted.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// The cloud is waited for so many times the usual, ...
constexpr float kPatience = 3;
/// ... within these bounds.
constexpr TimeNs kMinWaitNs = kMillisecond;
constexpr TimeNs kMaxWaitNs = 100 * kMillisecond;

/// Largest read that goes to the other tier, and memory for all of a disk.
constexpr uint64_t kMaxReadBlocks = 256;
constexpr uint64_t kMaxDispatchedBytes = 16u << 20;

}  // namespace

// A read of the cloud that may outlive whoever asked for it.
struct HybridDisk::OtherTier {
  OtherTier(Run from, DispatchTicket with, uint64_t& held)
      : run(from), ticket(with), data(from.count * kBlockBytes), held_bytes(held) {
    held_bytes += data.size();
  }
  ~OtherTier() { held_bytes -= data.size(); }

  Run run;
  DispatchTicket ticket;
  log::SegmentSpace::Pin pin;  // of the cloud log's segment
  Buffer data;
  uint64_t& held_bytes;
  IoStatus status = IoStatus::ok;
  bool done = false;
  Timer patience;
  std::coroutine_handle<> waiter;  // until done, or patience ends
};

/// The dispatcher, if there is one, gets to know of an I/O that has no choice.
DispatchTicket HybridDisk::begin_io(IoKind kind, uint64_t blocks, Tier tier) {
  if (dispatch_ == nullptr) return {};
  return dispatch_->note({reactor_.now(), kind, static_cast<uint32_t>(blocks * kBlockBytes)}, tier);
}

void HybridDisk::end_io(const DispatchTicket& ticket, IoStatus status) {
  if (dispatch_ != nullptr) dispatch_->end(ticket, reactor_.now(), status == IoStatus::ok);
}

/// Could the cloud answer for these blocks of the pool in one request? `cloud` gets where.
bool HybridDisk::both_have(const Run& local, Run& cloud) const {
  const bool going = state_ == State::online && !background_stop_;
  const uint64_t bytes = local.count * kBlockBytes;
  if (!going || local.count > kMaxReadBlocks || dispatched_bytes_ + bytes > kMaxDispatchedBytes)
    return false;
  for (uint64_t i = 0; i < local.count && !planted(Planted::dispatch_unchecked); ++i)
    if (!is_shipped(local.address + i)) return false;
  cloud = resolve_cloud(local.lba, local.count, true);
  const bool stored = cloud.source == Run::Source::base || cloud.source == Run::Source::cloud_log;
  return stored && cloud.count == local.count;
}

/// Reads blocks that are in the pool from whichever tier is to be sooner.
Task<IoStatus> HybridDisk::read_dispatched(Run run, std::span<std::byte> out, Keep keep) {
  // Keeps the checksums, and the blocks themselves in case the cloud fails.
  const log::SegmentSpace::Pin pin(pool_.space(), pool_.space().segment_of(run.address));
  Run cloud;
  const bool choice = both_have(run, cloud);
  DispatchTicket ticket;
  if (choice)
    ticket = dispatch_->choose(
        {reactor_.now(), IoKind::read, static_cast<uint32_t>(run.count * kBlockBytes)});
  else
    ticket = begin_io(IoKind::read, run.count, Tier::local);
  if (ticket.tier == Tier::cloud) {
    const bool served = co_await read_other_tier(run, cloud, ticket, out);
    if (served) co_return IoStatus::ok;
    ticket = begin_io(IoKind::read, run.count, Tier::local);
  }
  const IoStatus status = co_await read_local(run, out, keep);
  end_io(ticket, status);
  co_return status;
}

/// Reads from the cloud what the pool has, too. False if that failed, took too long, or is not the
/// version that the pool has.
Task<bool> HybridDisk::read_other_tier(Run local, Run cloud, DispatchTicket ticket,
                                       std::span<std::byte> out) {
  struct Patience {
    Reactor& reactor;
    OtherTier& read;
    TimeNs due_ns;
    bool await_ready() const { return read.done; }
    void await_suspend(std::coroutine_handle<> waiter) {
      read.waiter = waiter;
      reactor.arm_timer(read.patience, due_ns, waiter);
    }
    void await_resume() const {}
  };
  auto read = std::make_shared<OtherTier>(cloud, ticket, dispatched_bytes_);
  if (cloud.source == Run::Source::cloud_log)
    read->pin = log::SegmentSpace::Pin(*cloud_space_, cloud_space_->segment_of(cloud.address));
  ++background_tasks_;
  reactor_.spawn(fetch_other_tier(read));
  const float usual_us = dispatch_->usual_read_us(Tier::cloud);
  const auto wait_ns = static_cast<TimeNs>(kPatience * usual_us * 1e3f);
  const TimeNs due_ns = reactor_.now() + std::clamp(wait_ns, kMinWaitNs, kMaxWaitNs);
  co_await Patience{reactor_, *read, due_ns};
  if (!read->done || read->status != IoStatus::ok) co_return false;
  log::SegmentSpace& space = pool_.space();
  const bool same = space.verify(local.address, read->data.span());
  if (!same && !planted(Planted::dispatch_unchecked)) co_return false;
  std::memcpy(out.data(), read->data.data(), out.size());
  stats_.read_hit_blocks += local.count;
  stats_.cloud_served_blocks += local.count;
  for (uint64_t i = 0; i < local.count; ++i) space.note_access(local.address + i);
  co_return true;
}

Task<void> HybridDisk::fetch_other_tier(std::shared_ptr<OtherTier> read) {
  read->status = co_await read_cloud(read->run, read->data.span());
  end_io(read->ticket, read->status);
  read->done = true;
  if (read->patience.armed()) {
    read->patience.cancel();
    reactor_.schedule(read->waiter);
  }
  --background_tasks_;
  active_ended_.notify_all();
}

}  // namespace latte
