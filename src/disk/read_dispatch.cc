// HybridDisk, reads that both tiers could answer: blocks that are clean in the pool. A dispatcher
// says which tier is likely to be sooner, so that at many hits the cloud's bandwidth does not idle.
//
// What makes it safe whatever the dispatcher says (promises 4 to 6):
//  - Data from the cloud count only if they match the checksums that the index has for the pool's
//    copy: the same version, or the pool is read after all.
//  - The cloud is waited for a few times as long as it usually takes. After that, or if it fails,
//    the pool is read; what comes from the cloud later goes into memory of its own and tells only
//    how long it took.
//
// A drive that stalls is not foreseen by what was sent to it before: where the pool takes several
// times the usual, the cloud is asked as well, and who answers first is believed (a hedged request:
// Dean and Barroso, "The Tail at Scale", 2013). The pool is read into memory of our own for that.
//
// Limits: kMaxWaitNs of waiting; kMaxDispatchedBytes of memory.
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

/// The cloud is asked as well when the pool has taken so many times its usual, and so many times
/// the cloud's usual, and no sooner than this.
constexpr float kStallTimes = 4;
constexpr float kCloudTimes = 2;
constexpr TimeNs kMinHedgeNs = 500 * kMicrosecond;
/// Larger reads are not hedged: copying them out of our memory would cost more than stalls do.
constexpr uint64_t kMaxHedgedBlocks = 16;

/// Largest read that goes to the other tier, and memory for all of a disk.
constexpr uint64_t kMaxReadBlocks = 256;
constexpr uint64_t kMaxDispatchedBytes = 16u << 20;

}  // namespace

// Whoever waits for the first of several reads.
struct HybridDisk::Race {
  struct Wait {
    Reactor& reactor;
    Race& race;
    TimeNs due_ns;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      race.waiter = handle;
      reactor.arm_timer(race.timer, due_ns, handle);
    }
    void await_resume() const {}
  };
  void wake(Reactor& reactor) {
    if (!timer.armed()) return;
    timer.cancel();
    reactor.schedule(waiter);
  }

  Timer timer;
  std::coroutine_handle<> waiter;
};

// A read of one tier that may outlive whoever asked for it.
struct HybridDisk::TierRead {
  TierRead(std::shared_ptr<Race> in, Run from, DispatchTicket with, uint64_t& held)
      : race(std::move(in)),
        run(from),
        ticket(with),
        data(from.count * kBlockBytes),
        held_bytes(held) {
    held_bytes += data.size();
  }
  ~TierRead() { held_bytes -= data.size(); }

  std::shared_ptr<Race> race;
  Run run;
  DispatchTicket ticket;
  log::SegmentSpace::Pin pin;  // of the segment it is read from
  Buffer data;
  uint64_t& held_bytes;
  IoStatus status = IoStatus::ok;
  bool done = false;
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
  } else if (choice && run.count <= kMaxHedgedBlocks && dispatch_->usual_read_us(Tier::cloud) > 0) {
    const bool served = co_await read_hedged(run, ticket, out);
    if (served) co_return IoStatus::ok;
    ticket = begin_io(IoKind::read, run.count, Tier::local);
  }
  const IoStatus status = co_await read_local(run, out, keep);
  end_io(ticket, status);
  co_return status;
}

/// How long the cloud is waited for.
TimeNs HybridDisk::cloud_patience_ns() const {
  const float usual_us = dispatch_->usual_read_us(Tier::cloud);
  return std::clamp(static_cast<TimeNs>(kPatience * usual_us * 1e3f), kMinWaitNs, kMaxWaitNs);
}

/// Reads from the cloud what the pool has, too. False if that failed, took too long, or is not the
/// version that the pool has.
Task<bool> HybridDisk::read_other_tier(Run local, Run cloud, DispatchTicket ticket,
                                       std::span<std::byte> out) {
  const auto race = std::make_shared<Race>();
  const std::shared_ptr<TierRead> read = start_tier_read(race, cloud, ticket);
  const TimeNs due_ns = reactor_.now() + cloud_patience_ns();
  while (!read->done && reactor_.now() < due_ns) co_await Race::Wait{reactor_, *race, due_ns};
  co_return take_from(*read, local, out);
}

/// Reads from the pool, and from the cloud as well if that takes long. False if neither has it as
/// the checksums say.
Task<bool> HybridDisk::read_hedged(Run local, DispatchTicket ticket, std::span<std::byte> out) {
  const auto race = std::make_shared<Race>();
  const std::shared_ptr<TierRead> read = start_tier_read(race, local, ticket);
  const float long_us = std::max(kStallTimes * dispatch_->usual_read_us(Tier::local),
                                 kCloudTimes * dispatch_->usual_read_us(Tier::cloud));
  const TimeNs hedge_ns =
      reactor_.now() + std::clamp(static_cast<TimeNs>(long_us * 1e3f), kMinHedgeNs, kMaxWaitNs);
  while (!read->done && reactor_.now() < hedge_ns) co_await Race::Wait{reactor_, *race, hedge_ns};
  Run cloud;
  if (!read->done && both_have(local, cloud)) {
    stats_.hedged_blocks += local.count;
    const std::shared_ptr<TierRead> other =
        start_tier_read(race, cloud, begin_io(IoKind::read, local.count, Tier::cloud));
    const TimeNs due_ns = reactor_.now() + cloud_patience_ns();
    while (!read->done && !other->done && reactor_.now() < due_ns)
      co_await Race::Wait{reactor_, *race, due_ns};
    if (!read->done && take_from(*other, local, out)) co_return true;
  }
  while (!read->done) co_await Race::Wait{reactor_, *race, reactor_.now() + kSecond};
  co_return take_from(*read, local, out);
}

/// Begins to read `run` from where it says into memory of its own.
std::shared_ptr<HybridDisk::TierRead> HybridDisk::start_tier_read(std::shared_ptr<Race> race,
                                                                  Run run, DispatchTicket ticket) {
  auto read = std::make_shared<TierRead>(std::move(race), run, ticket, dispatched_bytes_);
  log::SegmentSpace* space = run.source == Run::Source::local       ? &pool_.space()
                             : run.source == Run::Source::cloud_log ? cloud_space_.get()
                                                                    : nullptr;
  if (space != nullptr) read->pin = log::SegmentSpace::Pin(*space, space->segment_of(run.address));
  ++background_tasks_;
  reactor_.spawn(run_tier_read(read));
  return read;
}

Task<void> HybridDisk::run_tier_read(std::shared_ptr<TierRead> read) {
  if (read->run.source == Run::Source::local)
    read->status = co_await log::read_blocks(pool_.space(), read->run.address, read->data.span());
  else
    read->status = co_await read_cloud(read->run, read->data.span());
  end_io(read->ticket, read->status);
  read->done = true;
  read->race->wake(reactor_);
  --background_tasks_;
  active_ended_.notify_all();
}

/// What was read of the pool's blocks `local`, if it is there and as the pool's checksums say.
bool HybridDisk::take_from(const TierRead& read, const Run& local, std::span<std::byte> out) {
  if (!read.done || read.status != IoStatus::ok) return false;
  log::SegmentSpace& space = pool_.space();
  const bool same = space.verify(local.address, read.data.span());
  const bool from_pool = read.run.source == Run::Source::local;
  if (!same && !(planted(Planted::dispatch_unchecked) && !from_pool)) return false;
  std::memcpy(out.data(), read.data.data(), out.size());
  stats_.read_hit_blocks += local.count;
  if (!from_pool) stats_.cloud_served_blocks += local.count;
  for (uint64_t i = 0; i < local.count; ++i) space.note_access(local.address + i);
  return true;
}

}  // namespace latte
