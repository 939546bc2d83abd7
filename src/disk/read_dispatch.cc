// HybridDisk, reads that both tiers could answer: blocks that are clean in the pool. A dispatcher
// says which tier is likely to be sooner, so that at many hits the cloud's bandwidth does not idle.
//
// What makes it safe whatever the dispatcher says (promises 4 to 6):
//  - Data from the cloud count only if they match the checksums that the index has for the pool's
//    copy: the same version, or the pool is read after all.
//  - The tier that was asked is waited for a few times as long as usual. Then the other one is
//    asked as well, and the first answer with the right checksums counts (hedged requests: Dean and
//    Barroso, "The Tail at Scale", 2013). Both go into memory of our own; the later one tells only
//    how long it took. So neither a cloud nor a drive that hangs holds a reader up for long.
//    That costs a copy, so where the pool was not seen to stall it is done for so many reads a
//    second only.
//
// Limits: kMaxWaitNs until the other is asked; kMaxDispatchedBytes and kMaxPoolReadBytes of memory.
#include <algorithm>
#include <cstring>

#include "base/planted.h"
#include "disk/race.h"
#include "runtime/frame_pool.h"

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
constexpr uint64_t kMaxHedgedBlocks = 4;
/// So many reads of the pool may be after some, in one turn, that were slow enough to be: all of
/// them on a drive that does not go for longer without a stall.
constexpr uint32_t kGuardsPerStall = 32u << 10;
constexpr uint32_t kMostGuards = 1u << 20;
/// One read in so many may be hedged, and so many in a row: where both tiers are at their limit,
/// asking twice makes both slower.
constexpr float kHedgeShare = 1.0f / 32;
constexpr float kMostHedges = 512;

/// Largest read that goes to the other tier, and memory for all of a disk.
constexpr uint64_t kMaxReadBlocks = 256;
constexpr uint64_t kMaxDispatchedBytes = 16u << 20;
/// Likewise for reads of the pool that need memory of ours.
constexpr uint64_t kMaxPoolReadBytes = 16u << 20;

}  // namespace

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

DispatchIo HybridDisk::io_now(IoKind kind, uint64_t blocks) const {
  return {reactor_.turn_time(), kind, static_cast<uint32_t>(blocks * kBlockBytes)};
}

/// The dispatcher, if there is one, gets to know of an I/O that has no choice.
DispatchTicket HybridDisk::begin_io(IoKind kind, uint64_t blocks, Tier tier) {
  if (dispatch_ == nullptr) return {};
  return dispatch_->note(io_now(kind, blocks), tier);
}

void HybridDisk::end_io(const DispatchTicket& ticket, IoStatus status) {
  if (dispatch_ == nullptr) return;
  const TimeNs now_ns = reactor_.turn_time();
  dispatch_->end(ticket, now_ns, status == IoStatus::ok);
  if (ticket.tier == Tier::local && ticket.io.kind == IoKind::read && status == IoStatus::ok)
    note_pool_read(ticket.io, now_ns);
}

/// Was it slow enough that the cloud should have been asked? Those of one turn count once: it may
/// have been the reactor that was away.
void HybridDisk::note_pool_read(const DispatchIo& io, TimeNs now_ns) {
  const TimeNs took_ns = now_ns - io.now_ns;
  if (took_ns < kMinHedgeNs || io.bytes > kMaxHedgedBlocks * kBlockBytes) return;
  if (took_ns < pool_patience_ns() || stalled_ns_ == now_ns) return;
  stalled_ns_ = now_ns;
  guarded_reads_ = std::min(guarded_reads_ + kGuardsPerStall, kMostGuards);
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

/// Which tier is to read these blocks of the pool. (Tickets are made where they stay: copying one
/// that was just written stalls the processor.)
HybridDisk::PoolRead HybridDisk::begin_pool_read(const Run& local) {
  if (dispatch_ == nullptr) return {};
  const DispatchIo io = io_now(IoKind::read, local.count);
  if (dispatch_->obviously_local(io, reactor_.turn_length())) {
    save_hedge();
    return {dispatch_->begin_obvious(io), {}, may_hedge(local.count)};
  }
  Run cloud;
  if (!both_have(local, cloud)) return {dispatch_->note(io, Tier::local), {}, false};
  if (!pool_read_fits(local.count) && dispatch_->silent(Tier::local, io.now_ns))
    return {dispatch_->note(io, Tier::cloud), cloud, true};
  save_hedge();
  PoolRead read{dispatch_->choose(io), cloud, true};
  if (read.ticket.tier == Tier::local)
    read.race = only_to_know(read.ticket) ? pool_read_fits(local.count) : may_hedge(local.count);
  return read;
}

/// Is there memory of ours for one more read of the pool?
bool HybridDisk::pool_read_fits(uint64_t blocks) const {
  return pool_read_bytes_ + blocks * kBlockBytes <= kMaxPoolReadBytes;
}

/// One more read that could be hedged.
void HybridDisk::save_hedge() {
  hedges_saved_ = std::min(hedges_saved_ + kHedgeShare, kMostHedges);
}

/// Is a read of the pool worth memory of ours, so that the cloud can answer instead?
bool HybridDisk::may_hedge(uint64_t blocks) {
  if (blocks > kMaxHedgedBlocks || dispatch_->usual_us(Tier::cloud, IoKind::read) == 0 ||
      !pool_read_fits(blocks))
    return false;
  if (guarded_reads_ > 0) {
    --guarded_reads_;
    return true;
  }
  const TimeNs now_ns = reactor_.turn_time();
  if (hedgeable_.free_at() > now_ns) return false;
  hedgeable_.charge(1, now_ns);
  return true;
}

/// Does an I/O go to the tier only so that the tier is known? Then the other one is asked at once,
/// too: no client is to wait for it.
bool HybridDisk::only_to_know(const DispatchTicket& ticket) const {
  const bool chosen_for_silence = ticket.reason == DispatchTicket::Reason::silent;
  const bool probe = chosen_for_silence && dispatch_->silent(ticket.tier, reactor_.now());
  return probe || ticket.only_to_know();
}

/// How long the cloud is waited for before the pool is asked as well.
TimeNs HybridDisk::cloud_patience_ns(IoKind kind) const {
  const float wait_us = kPatience * dispatch_->usual_us(Tier::cloud, kind);
  return std::clamp(static_cast<TimeNs>(wait_us * 1e3f), kMinWaitNs, kMaxWaitNs);
}

/// How long a read waits for the pool before the cloud is asked as well.
TimeNs HybridDisk::pool_patience_ns() const {
  const float wait_us = std::max(kStallTimes * dispatch_->usual_us(Tier::local, IoKind::read),
                                 kCloudTimes * dispatch_->usual_us(Tier::cloud, IoKind::read));
  return std::clamp(static_cast<TimeNs>(wait_us * 1e3f), kMinHedgeNs, kMaxWaitNs);
}

/// Reads blocks of the pool from the tier that the ticket names, and from the other as well if that
/// takes long.
Task<IoStatus> HybridDisk::read_raced(Run local, PoolRead read, std::span<std::byte> out,
                                      Keep keep) {
  // Keeps the checksums, and the blocks themselves in case the cloud fails.
  const log::SegmentSpace::Pin pin(pool_.space(), pool_.space().segment_of(local.address));
  const bool served = co_await read_first_tier(local, read.cloud, read.ticket, out);
  if (served) co_return IoStatus::ok;
  const DispatchTicket ticket = begin_io(IoKind::read, local.count, Tier::local);
  const IoStatus status = co_await read_local(local, out, keep);
  end_io(ticket, status);
  co_return status;
}

/// False if the pool is to be read as if there were no choice.
Task<bool> HybridDisk::read_first_tier(Run local, Run cloud, DispatchTicket ticket,
                                       std::span<std::byte> out) {
  const auto race = make_pooled<Race>();
  const Tier tier = ticket.tier;
  const auto first = start_tier_read(race, tier == Tier::cloud ? cloud : local, ticket);
  const TimeNs usual_ns =
      tier == Tier::cloud ? cloud_patience_ns(IoKind::read) : pool_patience_ns();
  const TimeNs due_ns = reactor_.now() + (only_to_know(ticket) ? 0 : usual_ns);
  while (!first->done && reactor_.now() < due_ns) co_await Race::Wait{reactor_, *race, due_ns};
  if (first->done) co_return take_from(*first, local, out);
  const auto second = start_other_read(race, ticket, local);
  const auto& pool = tier == Tier::local ? first : second;
  auto from_cloud = tier == Tier::local ? second : first;
  for (;;) {
    if (from_cloud != nullptr && from_cloud->done) {
      if (take_from(*from_cloud, local, out)) co_return true;
      from_cloud = nullptr;
    }
    if (pool != nullptr && pool->done) co_return take_from(*pool, local, out);
    const bool worth_waiting =
        from_cloud != nullptr && dispatch_->silent(Tier::local, reactor_.now());
    if (pool == nullptr && !worth_waiting) co_return false;
    co_await Race::Wait{reactor_, *race, reactor_.now() + kSecond};
  }
}

/// The tier that was asked first takes long. Null if the other can't be asked.
std::shared_ptr<HybridDisk::TierRead> HybridDisk::start_other_read(std::shared_ptr<Race> race,
                                                                   const DispatchTicket& first,
                                                                   Run local) {
  Run run = local;
  if (first.tier == Tier::cloud) {
    if (!pool_read_fits(local.count)) return nullptr;
    return start_tier_read(std::move(race), run, begin_io(IoKind::read, run.count, Tier::local));
  }
  const bool hedge = !only_to_know(first);
  if ((hedge && hedges_saved_ < 1) || !both_have(local, run)) return nullptr;
  if (hedge) {
    hedges_saved_ -= 1;
    stats_.hedged_blocks += run.count;
  }
  return start_tier_read(std::move(race), run, begin_io(IoKind::read, run.count, Tier::cloud));
}

/// Begins to read `run` from where it says into memory of its own.
std::shared_ptr<HybridDisk::TierRead> HybridDisk::start_tier_read(std::shared_ptr<Race> race,
                                                                  Run run, DispatchTicket ticket) {
  const bool from_pool = run.source == Run::Source::local;
  auto read = make_pooled<TierRead>(std::move(race), run, ticket,
                                    from_pool ? pool_read_bytes_ : dispatched_bytes_);
  log::SegmentSpace* space = from_pool                              ? &pool_.space()
                             : run.source == Run::Source::cloud_log ? cloud_space_.get()
                                                                    : nullptr;
  if (space != nullptr) read->pin = log::SegmentSpace::Pin(*space, space->segment_of(run.address));
  // Nothing ends a read of the drive but the drive: who waits for clients' requests waits for it.
  ++(from_pool ? active_ : background_tasks_);
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
  --(read->run.source == Run::Source::local ? active_ : background_tasks_);
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
