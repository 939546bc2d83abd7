// HybridDisk, recovery: both layers from both logs. Tables are read, not data, except for what was
// not yet flushed (log/recovery.h). Steps, each timed in the log: cloud log, pool log, gaps.
//
// Which copy is newest: within the pool's log the later one; between the logs the one with the
// higher seq, and the pool's if they are equal.
#include <fmt/format.h>
#include "base/logging.h"

#include <algorithm>
#include <cstring>

#include "base/planted.h"
#include "disk/cloud_image.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// Notes put into the pool's log before the next look at what clients want there.
constexpr size_t kNotesAtOnce = 512;

}  // namespace

Task<Result<void>> HybridDisk::recover(const std::vector<log::FoundSegment>& pool_segments) {
  const TimeNs start_ns = reactor_.now();
  auto cloud = co_await recover_cloud();
  if (!cloud) co_return cloud.error();
  const TimeNs cloud_ns = reactor_.now();
  auto local = co_await recover_local(pool_segments);
  if (!local) co_return local.error();
  const TimeNs local_ns = reactor_.now();
  auto gaps = co_await account_for_gaps();
  if (!gaps) co_return gaps.error();
  // Usually there is room at once; if not, the cloud log is not cut before there was.
  (void)co_await write_pending_notes();
  log_info(
      "disk {}: recovered as generation {}: cloud log {} ms ({} blocks), pool log {} ms ({} "
      "blocks, "
      "{} bytes not in the cloud), gaps {} ms; next seq {}",
      name(), super_.generation, (cloud_ns - start_ns) / kMillisecond, cloud_index_.size(),
      (local_ns - cloud_ns) / kMillisecond, local_index_.size(), dirty_bytes_,
      (reactor_.now() - local_ns) / kMillisecond, next_seq_.value);
  co_return Result<void>();
}

Task<Result<void>> HybridDisk::recover_cloud() {
  auto opened = co_await log::SegmentSpace::open(reactor_, cloud_log_device_,
                                                 log::SpaceKind::cloud_log, true);
  if (!opened) co_return opened.error();
  cloud_space_ = opened.take();
  auto settled = co_await cloud_space_->settle();
  if (!settled) co_return settled.error();
  CloudImage image = co_await load_cloud_image(reactor_, *cloud_space_, id_, false);
  if (image.unreadable > 0)
    co_return Error{Errc::io,
                    fmt::format("disk {}: {}: {} segments of the cloud log can't be read now; "
                                "try again when the cloud answers",
                                name(), cloud_.name(), image.unreadable)};
  if (!image.damage.empty())
    co_return Error{
        Errc::damaged,
        fmt::format("disk {}: {}: {}; run latte check, and restore the cloud volume from "
                    "a copy",
                    name(), cloud_.name(), image.damage.front())};
  log::LogStream::Options options;
  options.disk_id = id_;
  options.generation = super_.generation;
  options.keep_seqs = true;
  cloud_stream_ =
      std::make_unique<log::LogStream>(reactor_, *cloud_space_, options, cloud_account_);
  cloud_stream_->resume(std::move(image.stream));
  for (const CloudImage::Item& item : image.items) {
    const log::Entry& entry = item.entry;
    const bool ranged = entry.kind == log::EntryKind::cut || entry.kind == log::EntryKind::empty;
    if (entry.kind == log::EntryKind::cut) cut_seqs_.add(Seq(entry.seq), entry.count);
    if (item.cut || ranged) continue;
    if (!range_within(entry.lba, entry.count, block_count_))
      co_return Error{Errc::damaged,
                      fmt::format("disk {}: {}: an entry of the cloud log lies beyond "
                                  "the disk's end",
                                  name(), cloud_.name())};
    const Lba lba(entry.lba);
    if (entry.kind == log::EntryKind::data)
      install_cloud(lba, entry.count, item.address, Seq(entry.seq));
    else if (entry.kind == log::EntryKind::zero)
      install_cloud_extent(lba, entry.count, ExtentKind::zero, Seq(entry.seq));
    else if (entry.kind == log::EntryKind::lost)
      install_cloud_extent(lba, entry.count, ExtentKind::lost, Seq(entry.seq));
  }
  cloud_seqs_ = std::move(image.seqs);
  known_seqs_ = cloud_seqs_;
  shipped_seq_ = image.contiguous;
  contiguous_floor_ = image.floor;
  const log::StreamSlot* slot = cloud_space_->find_stream(id_);
  void_seq_ = Seq(slot == nullptr ? 0 : slot->void_seq);
  last_local_seq_ = Seq(0);
  next_seq_ = image.highest + 1;
  co_return Result<void>();
}

/// Seqs in neither log were lost with the power, unflushed. They must be accounted for in the cloud
/// log, or a take-over would end the disk's history before them. In the log's order: those that
/// follow what the cloud has now, the others when the shipper gets there.
Task<Result<void>> HybridDisk::account_for_gaps() {
  for (const auto& [first, count] : known_seqs_.gaps(contiguous_floor_, next_seq_ - 1))
    gaps_.push_back({first, count, dirty_seqs_.highest_below(first)});
  std::deque<log::Append> written;  // stable addresses
  while (!gaps_.empty() && gaps_.front().after == Seq(0)) {
    const Gap gap = gaps_.front();
    gaps_.pop_front();
    log::Append& append = written.emplace_back();
    append.entry = log::make_entry(log::EntryKind::empty, Lba(0), gap.count, gap.first);
    append.cause = log::WriteCause::metadata;
    if (!cloud_stream_->admit(append, 0))
      co_return Error{Errc::no_space,
                      fmt::format("disk {}: {}: the cloud log is full; give the disk a "
                                  "larger one",
                                  name(), cloud_.name())};
    cloud_seqs_.add(gap.first, gap.count);
  }
  for (log::Append& append : written) co_await cloud_stream_->completed(append);
  const IoStatus status = written.empty() ? IoStatus::ok : co_await cloud_stream_->flush();
  if (status == IoStatus::fenced)
    co_return Error{Errc::not_owner,
                    fmt::format("disk {}: taken over by another host meanwhile", name())};
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("disk {}: {}: writing the cloud log failed: {}", name(),
                                          cloud_.name(), to_string(status))};
  shipped_seq_ = cloud_seqs_.contiguous_from(contiguous_floor_);
  if (!gaps_.empty())
    last_local_seq_ = std::max(last_local_seq_, gaps_.back().first + (gaps_.back().count - 1));
  contiguous_floor_ = std::max(contiguous_floor_, shipped_seq_);
  cloud_seqs_.clear();
  known_seqs_.clear();
  dirty_seqs_.clear();
  co_return Result<void>();
}

/// Puts recovery's notes into the pool's log; false if that must wait. A block written since then
/// has its own entry in the log; a note behind it would hide it.
Task<bool> HybridDisk::write_pending_notes() {
  bool room = true;
  while (!pending_notes_.empty() && local_usable() && room) room = co_await write_some_notes();
  if (!room) pool_.want_room();
  co_return room&& local_usable();
}

/// False if the pool has no room for the next one.
Task<bool> HybridDisk::write_some_notes() {
  std::deque<log::Append> written;  // stable addresses
  bool room = true;
  while (!pending_notes_.empty() && written.size() < kNotesAtOnce && local_usable() && room) {
    const log::Entry note = pending_notes_.back();
    const Lba lba(note.lba);
    const bool covered =
        local_index_.any_in(lba, note.count) || local_extents_.any_in(lba, note.count);
    // Behind a write that is on its way into the pool's log the note would hide it, too.
    const bool busy = under_way(lba, note.count, false);
    if (busy && !covered && note.count == 1) {
      co_await cloud_progress_.wait();
      continue;
    }
    if ((busy || covered) && note.count > 1) {
      log::Entry upper = note;
      upper.lba += note.count / 2;
      upper.count -= note.count / 2;
      pending_notes_.back().count = note.count / 2;
      pending_notes_.push_back(upper);
      continue;
    }
    if (!covered) {
      log::Append& append = written.emplace_back();
      append.entry = note;
      append.entry.seq = (next_seq_ - 1).value;  // the log's seqs don't go back
      append.cause = log::WriteCause::metadata;
      room = local_->admit(append, 0);
      if (!room) written.pop_back();
    }
    if (room) pending_notes_.pop_back();
  }
  for (log::Append& append : written) {
    co_await local_->completed(append);
    if (append.status != IoStatus::ok) on_local_failure(append.status);
  }
  co_return room;
}

}  // namespace latte
