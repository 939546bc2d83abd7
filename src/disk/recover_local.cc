// HybridDisk, recovery of the local layer from the pool's log; recover.cc has done the cloud's
// before.
#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "base/planted.h"
#include "disk/hybrid_disk.h"

namespace latte {

bool HybridDisk::cloud_is_newer(Lba lba, Seq than) const {
  if (planted(Planted::drop_sequence_check)) return false;
  const uint64_t address = cloud_index_.find(lba);
  if (address != BlockIndex::kNone && cloud_space_->seq(address) > than) return true;
  const auto hit = cloud_extents_.find(lba, 1);
  return hit.found && hit.seq > than;
}

// Builds the local layer from the pool's log.
class HybridDisk::LocalVisitor final : public log::StreamVisitor {
 public:
  explicit LocalVisitor(HybridDisk& disk) : disk_(disk) {}

  void on_entry(const log::Entry& entry, log::BlockAddress address, std::span<const uint32_t> crcs,
                log::LogPosition position, int64_t wall_time_ns) override {
    if (!range_within(entry.lba, entry.count, disk_.block_count_)) {
      fatal = "an entry lies beyond the disk's end";
      return;
    }
    settle_damage(entry);
    switch (entry.kind) {
      case log::EntryKind::data:
      case log::EntryKind::copy:
        take_blocks(entry, address, crcs);
        break;
      case log::EntryKind::zero:
        take_zero(entry);
        break;
      case log::EntryKind::invalidate:
        disk_.local_index_.erase_range(Lba(entry.lba), entry.count, [](Lba, uint64_t) {});
        disk_.local_extents_.erase(Lba(entry.lba), entry.count);
        return;
      default:
        return;
    }
    if (entry.kind == log::EntryKind::copy) return;
    const Seq seq(entry.seq);
    disk_.known_seqs_.add(seq, 1);
    disk_.last_local_seq_ = std::max(disk_.last_local_seq_, seq);
    if (seq <= disk_.shipped_seq_) return;
    disk_.dirty_seqs_.add(seq, 1);
    if (entry.kind == log::EntryKind::data) disk_.dirty_bytes_ += entry.count * kBlockBytes;
    if (!has_dirty) {
      has_dirty = true;
      first_dirty = position;
      first_dirty_wall_ns = wall_time_ns;
    }
  }

  void on_damage(log::LogPosition, const std::string& what) override {
    damage = what;
    if (has_dirty) {
      fatal = what + ", where there are writes that the cloud does not have";
      return;
    }
    // If all that is gone was shipped (the next entry tells), only cache is lost; but nothing older
    // may stand for it.
    damage_open = true;
    disk_.local_index_.erase_range(Lba(0), disk_.block_count_, [](Lba, uint64_t) {});
    disk_.local_extents_.erase(Lba(0), disk_.block_count_);
  }

  std::string fatal;
  std::string damage;
  bool damage_open = false;
  bool has_dirty = false;
  log::LogPosition first_dirty;
  int64_t first_dirty_wall_ns = 0;

 private:
  /// All that was before a write has lower seqs than it; a copy or a note repeats the seq of the
  /// last write before it, which may be just what is gone.
  void settle_damage(const log::Entry& entry) {
    if (!damage_open) return;
    damage_open = false;
    const bool writes = entry.kind == log::EntryKind::data || entry.kind == log::EntryKind::zero;
    if (Seq(entry.seq) > disk_.shipped_seq_ + (writes ? 1 : 0))
      fatal = damage + ", and what it held may be missing in the cloud";
  }

  /// An earlier recovery may have dropped what looks as if it followed damage (log/recovery.h), and
  /// filled its seqs in the cloud log: of what the cloud has nothing is taken from there, and all
  /// that costs is cached copies.
  bool may_be_dropped(const log::Entry& entry) const {
    return !damage.empty() && Seq(entry.seq) <= disk_.shipped_seq_;
  }

  void take_blocks(const log::Entry& entry, log::BlockAddress address,
                   std::span<const uint32_t> crcs) {
    log::SegmentSpace& space = disk_.pool_.space();
    for (uint64_t i = 0; i < entry.count; ++i) {
      const Lba lba(entry.lba + i);
      space.set_crc(address + i, log::unbound_crc(crcs[i], lba, Seq(entry.seq)));
      space.begin_life(address + i, entry.kind);
      const bool stale = disk_.cloud_is_newer(lba, Seq(entry.seq));
      if (stale || Seq(entry.seq) <= disk_.void_seq_ || may_be_dropped(entry)) {
        disk_.local_index_.erase(lba);
        disk_.local_extents_.erase(lba, 1);
        // The pool holds an old version of the block and nothing later that says so.
        if (stale) disk_.note_stale_later(lba, 1, disk_.next_seq_ - 1);
        continue;
      }
      disk_.local_index_.set(lba, address + i);
      disk_.local_extents_.erase(lba, 1);
    }
  }

  void take_zero(const log::Entry& entry) {
    const Lba lba(entry.lba);
    const Seq seq(entry.seq);
    disk_.local_index_.erase_range(lba, entry.count, [](Lba, uint64_t) {});
    disk_.local_extents_.erase(lba, entry.count);
    if (seq <= disk_.shipped_seq_) return;  // the cloud layer or the base has it
    disk_.local_extents_.set(lba, entry.count, ExtentKind::zero, seq);
    // Newer versions in the cloud show through.
    const auto show = [&](Lba block, uint64_t address) {
      if (block >= lba && block - lba < entry.count && disk_.cloud_space_->seq(address) > seq)
        disk_.local_extents_.erase(block, 1);
    };
    if (entry.count > disk_.cloud_index_.size()) {
      disk_.cloud_index_.for_each(show);
    } else {
      for (uint64_t i = 0; i < entry.count; ++i) {
        const uint64_t address = disk_.cloud_index_.find(lba + i);
        if (address != BlockIndex::kNone) show(lba + i, address);
      }
    }
    disk_.cloud_extents_.for_each_in(lba, entry.count,
                                     [&](Lba from, uint64_t count, const ExtentMap::Range& range) {
                                       if (range.seq > seq) disk_.local_extents_.erase(from, count);
                                     });
  }

  HybridDisk& disk_;
};

Task<Result<void>> HybridDisk::recover_local(const std::vector<log::FoundSegment>& pool_segments) {
  log::SegmentSpace& space = pool_.space();
  log::StreamSlot* slot = space.find_stream(id_);
  LATTE_CHECK(slot != nullptr);
  log::StreamRecoveryOptions options;
  options.disk_id = id_;
  options.epoch = slot->epoch;
  options.tail_order = slot->tail_order;
  options.boot_id = reactor_.boot_id();
  const log::PoolMark& mark = cloud_space_->pool_mark();
  if (mark.epoch == slot->epoch) options.flushed = mark.end;
  options.settled_seq = shipped_seq_.value;
  LocalVisitor visitor(*this);
  const log::StreamRecovery stream =
      co_await log::recover_stream(space, options, pool_segments, visitor);
  if (stream.unreadable > 0)
    co_return Error{
        Errc::io,
        fmt::format("disk {}: pool {}: {} segments can't be read; if that stays so, replace "
                    "the pool with a new one (latte create) and take the disk over from "
                    "the cloud (latte takeover)",
                    name(), space.device().info().name, stream.unreadable)};
  if (visitor.damage_open) visitor.fatal = visitor.damage + ", at the end of what was written";
  if (!visitor.fatal.empty())
    co_return Error{
        Errc::damaged,
        fmt::format("disk {}: pool {}: {}; restore the pool, or replace it with a new one "
                    "(latte create) and take the disk over from the cloud (latte takeover)",
                    name(), space.device().info().name, visitor.fatal)};
  if (!stream.dropped.empty()) {
    slot->tail_order = stream.next_order;
    const auto written = co_await pool_.write_super(name());
    if (!written) co_return written;
    for (const uint32_t segment : stream.dropped) space.release(segment);
  }
  if (!visitor.damage.empty())
    log_warning("disk {}: pool {}: {}; the cloud has all of it, only cached copies are gone",
                name(), space.device().info().name, visitor.damage);
  log::LogStream::Options stream_options;
  stream_options.disk_id = id_;
  stream_options.generation = super_.generation;
  local_ = std::make_unique<log::LogStream>(reactor_, space, stream_options, pool_.account());
  local_->resume(stream);
  next_seq_ = std::max(next_seq_, Seq(stream.max_seq) + 1);
  shipped_ = visitor.has_dirty ? visitor.first_dirty : stream.end;
  if (visitor.has_dirty) {
    const TimeNs age_ns = std::max<TimeNs>(0, reactor_.wall_now() - visitor.first_dirty_wall_ns);
    lag_samples_.push_back(LagSample{stream.end, reactor_.now() - age_ns});
  }
  if (stream.discarded_entries > 0)
    log_info("disk {}: {} entries that were never flushed did not survive", name(),
             stream.discarded_entries);
  co_return Result<void>();
}

}  // namespace latte
