// HybridDisk, the shipper: takes the pool's log to the cloud's, in order, in large appends. Its
// pace sets the recovery point: what it has not shipped is lost with the host.
//
// Invariants: 1. shipped_ advances only when the cloud log has made everything up to there durable.
// Limits: kShipBlocks of the pool's log in memory at a time.
#include <fmt/format.h>
#include "base/logging.h"

#include <algorithm>
#include <cstring>
#include <deque>

#include "base/buffer.h"
#include "base/crc32c.h"
#include "base/planted.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// Blocks of the pool's log read at a time (4.1 MiB): at least one whole record.
constexpr uint32_t kShipBlocks = 1040;
static_assert(kShipBlocks >= log::kMaxRecordDataBlocks + log::kMaxHeaderBlocks);
/// Enough to ship at once, without waiting for more.
constexpr uint64_t kShipAtOnceBytes = 1u << 20;
/// Longest wait for more, so that an idle disk is soon safe in the cloud.
constexpr TimeNs kMaxShipDelayNs = 500 * kMillisecond;
/// Samples of how old the log is at which place; halved in number when full.
constexpr size_t kMaxLagSamples = 4096;
constexpr TimeNs kLagSampleStepNs = 2 * kMillisecond;
/// Segments of the cloud log that shipping leaves to the applier, which has to write notes to go
/// on.
constexpr uint64_t kCarryReserve = 1;
/// Stands for the address of what is lost without its place being known.
constexpr log::BlockAddress kUnknownAddress = UINT64_MAX;
/// How soon a damaged stretch is looked at again while writes are under way.
constexpr TimeNs kDamageRetryNs = 5 * kMillisecond;

}  // namespace

// One append of a batch.
struct HybridDisk::ShipItem {
  log::Append append;
  log::BlockAddress local_address = 0;
};

// A piece of the pool's log on its way to the cloud.
struct HybridDisk::ShipBatch {
  Buffer bytes;
  size_t segment_index = 0;  // in the chain
  uint32_t first_block = 0;
  uint32_t limit_block = 0;
  log::LogPosition end;  // shipped_ once the batch is durable
  Seq last_seq;
  uint64_t data_bytes = 0;     // as counted in dirty_bytes_
  bool damaged = false;        // put together from the index: seqs out of order
  std::deque<ShipItem> items;  // stable addresses
  size_t admitted = 0;         // of the items, queued for the cloud log
  size_t finished = 0;         // durable there and installed
};

TimeNs HybridDisk::ship_delay_ns() const {
  if (options_.max_lag_ns == kNoLagLimit) return kMaxShipDelayNs;
  return std::min(options_.max_lag_ns / 4, kMaxShipDelayNs);
}

void HybridDisk::note_written(log::LogPosition end) {
  const TimeNs now_ns = reactor_.now();
  const bool first = lag_head_ == lag_samples_.size();
  if (first || now_ns - lag_samples_.back().time_ns >= kLagSampleStepNs) {
    if (lag_head_ > kMaxLagSamples) {
      lag_samples_.erase(lag_samples_.begin(),
                         lag_samples_.begin() + static_cast<std::ptrdiff_t>(lag_head_));
      lag_head_ = 0;
    }
    if (lag_samples_.size() - lag_head_ >= kMaxLagSamples) {
      // Thin out to every other one; each sample keeps the older time, so lag is never understated.
      size_t to = lag_head_;
      for (size_t from = lag_head_; from + 1 < lag_samples_.size(); from += 2)
        lag_samples_[to++] = LagSample{lag_samples_[from + 1].end, lag_samples_[from].time_ns};
      lag_samples_.resize(to);
    }
    lag_samples_.push_back(LagSample{end, now_ns});
  } else {
    lag_samples_.back().end = std::max(lag_samples_.back().end, end);
  }
  if (dirty_bytes_ >= kShipAtOnceBytes || first) ship_work_.notify_all();
}

/// When the oldest write that the cloud lacks was acknowledged, or INT64_MAX.
TimeNs HybridDisk::oldest_unshipped_ns() const {
  if (!ship_pending() || lag_head_ == lag_samples_.size()) return INT64_MAX;
  return lag_samples_[lag_head_].time_ns;
}

TimeNs HybridDisk::lag_ns() const {
  const TimeNs oldest_ns = oldest_unshipped_ns();
  return oldest_ns == INT64_MAX ? 0 : std::max<TimeNs>(0, reactor_.now() - oldest_ns);
}

bool HybridDisk::ship_pending() const { return shipped_seq_ < last_local_seq_; }

/// The pool's log up to here holds nothing that the cloud lacks: shipped_, or everything if what
/// follows are only notes and copies.
log::LogPosition HybridDisk::shipped_end() const {
  const bool only_notes = !ship_pending() && pending_seqs_.empty();
  return only_notes ? std::max(shipped_, local_->completed_end()) : shipped_;
}

Seq HybridDisk::contiguous_seq() const {
  Seq seq = next_seq_ - 1;
  if (ship_pending()) seq = std::min(seq, shipped_seq_);
  if (!pending_seqs_.empty())
    seq = std::min(seq, const_cast<HybridDisk*>(this)->pending_seqs_.front().seq - 1);
  contiguous_floor_ = std::max(contiguous_floor_, seq);
  return contiguous_floor_;
}

Task<IoStatus> HybridDisk::wait_in_cloud(Seq seq) {
  while (contiguous_seq() < seq) {
    if (state_ == State::fenced) co_return IoStatus::fenced;
    if (state_ == State::failed) co_return IoStatus::io_error;
    if (background_stop_) co_return IoStatus::stopped;
    urgent_seq_ = std::max(urgent_seq_, seq);
    ship_work_.notify_all();
    co_await cloud_progress_.wait();
  }
  co_return IoStatus::ok;
}

Task<void> HybridDisk::run_shipper() {
  while (!background_stop_ && going_on()) {
    co_await await_ship_work();
    if (background_stop_) break;
    if (!ship_pending()) continue;
    const bool ok = co_await ship_once();
    if (!ok && !background_stop_) break;
  }
  --background_tasks_;
  active_ended_.notify_all();
}

/// Returns when there is a batch worth sending, or the disk stops.
Task<void> HybridDisk::await_ship_work() {
  while (!background_stop_ && going_on()) {
    if (ship_pending()) {
      const bool urgent = draining_ || urgent_seq_ > contiguous_seq() || !local_usable() ||
                          dirty_bytes_ >= kShipAtOnceBytes || cloud_progress_.has_waiters();
      const TimeNs due_ns = oldest_unshipped_ns() + ship_delay_ns();
      if (urgent || due_ns <= reactor_.now()) co_return;
      // Woken by the timer or by note_written(), whichever is first.
      if (!ship_timer_.armed()) reactor_.spawn(wake_shipper_at(due_ns));
    }
    co_await ship_work_.wait();
  }
}

Task<void> HybridDisk::wake_shipper_at(TimeNs due_ns) {
  struct Sleep {
    Reactor& reactor;
    Timer& timer;
    TimeNs due_ns;
    bool await_ready() const { return timer.armed(); }
    void await_suspend(std::coroutine_handle<> waiter) { reactor.arm_timer(timer, due_ns, waiter); }
    void await_resume() const {}
  };
  co_await Sleep{reactor_, ship_timer_, due_ns};
  ship_work_.notify_all();
}

Task<bool> HybridDisk::ship_once() {
  ShipBatch batch;
  const TimeNs start_ns = reactor_.now();
  const bool loaded = co_await load_ship_batch(batch);
  if (!loaded) co_return false;
  co_await read_lost_again(batch);
  const bool appended = co_await append_ship_batch(batch);
  if (!appended) co_return false;
  finish_ship_batch(batch);
  // Only a batch that had company tells how fast the cloud can go.
  if (ship_pending() || batch.data_bytes >= kShipAtOnceBytes)
    pacer_.on_drained(batch.data_bytes, reactor_.now() - start_ns);
  co_return true;
}

Task<bool> HybridDisk::load_ship_batch(ShipBatch& batch) {
  const auto& chain = local_->chain();
  const auto it = std::lower_bound(
      chain.begin(), chain.end(), shipped_.order,
      [](const log::LogStream::ChainSegment& s, uint64_t order) { return s.order < order; });
  if (it == chain.end()) co_return true;  // nothing there: an empty batch
  const log::LogStream::ChainSegment segment = *it;
  const log::LogPosition written = local_->completed_end();
  uint32_t at = segment.order == shipped_.order
                    ? std::max<uint32_t>(1, static_cast<uint32_t>(shipped_.block))
                    : 1;
  const uint32_t limit =
      written.order == segment.order ? static_cast<uint32_t>(written.block) : segment.used_blocks;
  log::SegmentSpace& space = pool_.space();
  const log::SegmentSpace::Pin pin(space, segment.segment);
  batch.end = log::LogPosition{segment.order, limit};
  if (at >= limit) {
    // This segment is done; on to the next.
    if (std::next(it) != chain.end()) batch.end = log::LogPosition{std::next(it)->order, 1};
    co_return true;
  }
  const uint32_t blocks = std::min(limit - at, kShipBlocks);
  batch.bytes = Buffer(size_t{blocks} * kBlockBytes);
  const uint32_t first = at;
  for (int tries = 0; tries < log::kReadTries && at == first; ++tries) {
    const IoStatus status =
        co_await log::read_blocks(space, space.address(segment.segment, at), batch.bytes.span());
    while (status == IoStatus::ok && at < first + blocks) {
      log::RecordView record;
      uint32_t need = 0;
      const auto rest = batch.bytes.span().subspan(size_t{at - first} * kBlockBytes);
      if (!log::parse_record(rest, segment.salt, at, space.segment_blocks(), record, need)) break;
      if (size_t{record.total_blocks()} * kBlockBytes > rest.size()) break;
      const auto data = rest.subspan(size_t{record.header.header_blocks} * kBlockBytes);
      take_ship_record(batch, record, space.address(segment.segment, at), data);
      at += record.total_blocks();
    }
  }
  batch.end = log::LogPosition{segment.order, at};
  if (at > first) co_return true;
  const bool by_table = co_await load_by_table(batch, segment, at, limit);
  if (by_table) co_return true;
  co_return co_await load_damaged(batch, segment, at, limit);
}

/// One record whose header can't be read, by the segment's table: on the device, or of the open
/// segment still in memory.
Task<bool> HybridDisk::load_by_table(ShipBatch& batch, log::LogStream::ChainSegment segment,
                                     uint32_t record_block, uint32_t limit_block) {
  log::SegmentSpace& space = pool_.space();
  std::vector<log::TableEntry> entries;
  std::vector<uint32_t> crcs;
  if (local_->open() && local_->chain().back().order == segment.order) {
    entries = local_->open_table();
    crcs = local_->open_table_crcs();
  } else {
    const log::FoundSegment found = co_await log::find_footer(space, segment.segment, segment.salt);
    if (!found.sealed) co_return false;
    log::SegmentContent content = co_await log::load_segment(space, found, limit_block);
    if (!content.from_table) co_return false;
    entries = std::move(content.entries);
    crcs = std::move(content.crcs);
  }
  uint32_t end = limit_block;
  uint64_t blocks = 0;
  for (const log::TableEntry& item : entries) {
    if (item.record_block > record_block) end = std::min(end, item.record_block);
    if (item.record_block == record_block && log::has_data(item.entry.kind))
      blocks += item.entry.count;
  }
  log_error("disk {}: pool segment {}: the record at block {} can't be read; going by the table",
            name(), segment.segment, record_block);
  batch.bytes = Buffer(blocks * kBlockBytes);
  uint64_t at = 0;
  size_t crc_at = 0;
  for (const log::TableEntry& item : entries) {
    const size_t count = log::has_data(item.entry.kind) ? item.entry.count : 0;
    const auto stored = std::span(crcs).subspan(crc_at, count);
    crc_at += count;
    if (item.record_block != record_block) continue;
    const log::BlockAddress address = space.address(segment.segment, item.data_block);
    const auto data = batch.bytes.span().subspan(at * kBlockBytes, count * kBlockBytes);
    at += count;
    for (size_t i = 0; i < count; ++i) {
      const auto block = data.subspan(i * kBlockBytes, kBlockBytes);
      const IoStatus status = co_await space.device().read(space.device_offset(address + i), block);
      // What can't be read must not pass its check by what the memory held before.
      if (status != IoStatus::ok) std::memset(block.data(), 0x5a, block.size());
    }
    take_ship_entry(batch, item.entry, address, data, stored);
  }
  batch.end = log::LogPosition{segment.order, end};
  co_return true;
}

/// The pool's log can't be read at a place the cloud does not have yet. What it said is still known
/// where it matters: the index has every live block of the segment. Those that can't be read are
/// lost; they go to the cloud as such, so that nobody is served something older.
Task<bool> HybridDisk::load_damaged(ShipBatch& batch, log::LogStream::ChainSegment segment,
                                    uint32_t from_block, uint32_t limit_block) {
  if (under_way(Lba(0), block_count_, false) || !local_->idle()) {
    // Not everything written there is in the index yet. Writers run out of room before this
    // starves.
    co_await reactor_.sleep(kDamageRetryNs);
    batch.end = shipped_;
    co_return true;
  }
  log_error(
      "disk {}: pool segment {} can't be read from block {} on; its unshipped blocks are "
      "saved one by one",
      name(), segment.segment, from_block);
  log::SegmentSpace& space = pool_.space();
  const log::BlockAddress low = space.address(segment.segment, from_block);
  const log::BlockAddress high = space.address(segment.segment, limit_block);
  std::vector<std::pair<Lba, uint64_t>> blocks;
  local_index_.for_each([&](Lba lba, uint64_t address) {
    if (address >= low && address < high) blocks.emplace_back(lba, address);
  });
  std::sort(blocks.begin(), blocks.end());
  const Seq seq(segment.max_seq);
  batch.damaged = true;
  batch.bytes = Buffer(blocks.size() * kBlockBytes);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto [lba, address] = blocks[i];
    const auto data = batch.bytes.span().subspan(i * kBlockBytes, kBlockBytes);
    log::Entry entry{};
    entry.seq = seq.value;
    entry.lba = lba.value;
    entry.count = 1;
    entry.kind = log::EntryKind::data;
    const IoStatus status = co_await space.device().read(space.device_offset(address), data);
    // A CRC that can't match stands for a block that could not be read.
    const uint32_t crc = status == IoStatus::ok ? space.crc(address) : ~crc32c(data);
    const uint32_t bound = log::bound_crc(crc, lba, seq);
    add_ship_data(batch, entry, address, data, std::span(&bound, 1));
  }
  add_unknown(batch, log::LogPosition{segment.order, limit_block}, seq);
  // Discards of that stretch are in the extents; the seqs that left nothing are accounted for as
  // empty.
  local_extents_.for_each_in(Lba(0), block_count_, [&](Lba lba, uint64_t count, const auto& range) {
    if (range.seq <= shipped_seq_ || range.seq > seq) return;
    auto& item = batch.items.emplace_back();
    item.append.entry.seq = range.seq.value;
    item.append.entry.lba = lba.value;
    item.append.entry.count = count;
    item.append.entry.kind = log::EntryKind::zero;
  });
  if (seq > shipped_seq_) {
    auto& item = batch.items.emplace_back();
    item.append.entry.seq = shipped_seq_.value + 1;
    item.append.entry.count = seq - shipped_seq_;
    item.append.entry.kind = log::EntryKind::empty;
    batch.last_seq = seq;
    while (!gaps_.empty() && gaps_.front().first <= seq) gaps_.pop_front();
    take_gaps(batch);
  }
  batch.end = log::LogPosition{segment.order, limit_block};
  co_return true;
}

/// What the damaged stretch held of blocks that were written again behind `end` is not known: until
/// those versions arrive, too, the cloud must not show anything older. They are lost for so long.
void HybridDisk::add_unknown(ShipBatch& batch, log::LogPosition end, Seq seq) {
  std::vector<std::pair<Lba, uint64_t>> ranges;
  const log::SegmentSpace& space = pool_.space();
  local_index_.for_each([&](Lba lba, uint64_t address) {
    const log::LogPosition at{space.order_of(space.segment_of(address)), space.block_of(address)};
    if (at >= end) ranges.emplace_back(lba, 1);
  });
  local_extents_.for_each_in(Lba(0), block_count_, [&](Lba lba, uint64_t count, const auto& range) {
    if (range.seq > seq) ranges.emplace_back(lba, count);
  });
  std::sort(ranges.begin(), ranges.end());
  for (const auto& [lba, count] : ranges) {
    const auto known = cloud_extents_.find(lba, count);
    if (known.found && known.kind == ExtentKind::lost && known.run == count) continue;
    log::Entry* last = batch.items.empty() ? nullptr : &batch.items.back().append.entry;
    if (last != nullptr && batch.items.back().local_address == kUnknownAddress &&
        last->lba + last->count == lba.value) {
      last->count += count;
      continue;
    }
    ShipItem& item = batch.items.emplace_back();
    item.local_address = kUnknownAddress;
    item.append.entry.seq = seq.value;
    item.append.entry.lba = lba.value;
    item.append.entry.count = count;
    item.append.entry.kind = log::EntryKind::lost;
  }
}

/// Adds a record's entries to the batch.
void HybridDisk::take_ship_record(ShipBatch& batch, const log::RecordView& record,
                                  log::BlockAddress record_address,
                                  std::span<const std::byte> data) {
  log::BlockAddress address = record_address + record.header.header_blocks;
  size_t block = 0;
  for (const log::Entry& entry : record.entries) {
    const size_t blocks = log::has_data(entry.kind) ? entry.count : 0;
    take_ship_entry(batch, entry, address, data.subspan(block * kBlockBytes, blocks * kBlockBytes),
                    record.crcs.subspan(block, blocks));
    block += blocks;
    address += blocks;
  }
}

void HybridDisk::take_ship_entry(ShipBatch& batch, const log::Entry& entry,
                                 log::BlockAddress address, std::span<const std::byte> data,
                                 std::span<const uint32_t> crcs) {
  if (Seq(entry.seq) <= shipped_seq_)
    batch.data_bytes += data.size();  // in the cloud since before a restart
  else if (entry.kind == log::EntryKind::data)
    add_ship_data(batch, entry, address, data, crcs);
  else if (entry.kind == log::EntryKind::zero)
    batch.items.emplace_back().append.entry = entry;
  else
    return;  // notes and copies concern the pool only
  batch.last_seq = std::max(batch.last_seq, Seq(entry.seq));
  take_gaps(batch);
}

/// Adds the gaps that follow what the batch holds so far.
void HybridDisk::take_gaps(ShipBatch& batch) {
  const Seq done = std::max(batch.last_seq, shipped_seq_);
  if (gaps_.empty() || gaps_.front().first > done + 1) return;
  const auto [first, count] = gaps_.front();
  gaps_.pop_front();
  log::Entry& entry = batch.items.emplace_back().append.entry;
  entry.seq = first.value;
  entry.count = count;
  entry.kind = log::EntryKind::empty;
  batch.last_seq = std::max(batch.last_seq, first + (count - 1));
}

/// Splits an entry's blocks into stretches that fit an append; bad blocks become `lost`.
void HybridDisk::add_ship_data(ShipBatch& batch, const log::Entry& entry, log::BlockAddress address,
                               std::span<const std::byte> data, std::span<const uint32_t> crcs) {
  batch.data_bytes += data.size();
  const uint64_t most = cloud_stream_->max_append_blocks();
  ShipItem* open = nullptr;
  for (size_t i = 0; i < crcs.size(); ++i) {
    const auto block = data.subspan(i * kBlockBytes, kBlockBytes);
    const bool good = log::bound_crc(crc32c(block), Lba(entry.lba + i), Seq(entry.seq)) == crcs[i];
    const auto kind = good ? log::EntryKind::data : log::EntryKind::lost;
    // Lost ones stay single; see read_lost_again().
    const bool extends = good && open != nullptr && open->append.entry.kind == kind;
    if (extends && open->append.entry.count < most) {
      ++open->append.entry.count;
      continue;
    }
    open = &batch.items.emplace_back();
    open->append.entry = entry;
    open->append.entry.kind = kind;
    open->append.entry.lba = entry.lba + i;
    open->append.entry.count = 1;
    open->append.data = block.data();
    open->local_address = address + i;
  }
}

/// Before a block is given up: perhaps it went bad only on its way from the device.
Task<void> HybridDisk::read_lost_again(ShipBatch& batch) {
  log::SegmentSpace& space = pool_.space();
  for (size_t i = 0; i < batch.items.size() && !background_stop_; ++i) {
    log::Append& append = batch.items[i].append;
    const log::BlockAddress address = batch.items[i].local_address;
    if (append.entry.kind != log::EntryKind::lost || address == kUnknownAddress) continue;
    const std::span<std::byte> block(const_cast<std::byte*>(append.data), kBlockBytes);
    bool good = false;
    for (int tries = 1; tries < log::kReadTries && !good; ++tries) {
      const IoStatus status = co_await space.device().read(space.device_offset(address), block);
      good = status == IoStatus::ok && space.verify(address, block);
    }
    if (good) append.entry.kind = log::EntryKind::data;
  }
}

/// A seq that goes in several appends counts only with its last one.
void HybridDisk::mark_pieces(ShipBatch& batch, size_t index) {
  log::Entry& entry = batch.items[index].append.entry;
  entry.flags = 0;
  for (size_t i = index + 1; i < batch.items.size(); ++i)
    if (batch.items[i].append.entry.seq == entry.seq) entry.flags = log::kMorePieces;
}

/// Waits for what may let an append into the cloud log.
Task<void> HybridDisk::wait_for_cloud_room() {
  cloud_room_wanted_ = true;
  apply_work_.notify_all();
  ship_work_.notify_all();
  co_await cloud_progress_.wait();
}

Task<bool> HybridDisk::append_ship_batch(ShipBatch& batch) {
  if (planted(Planted::reorder_ship)) {
    for (size_t i = 0, j = batch.items.size(); i + 1 < j; ++i, --j)
      std::swap(batch.items[i].append.entry.seq, batch.items[j - 1].append.entry.seq);
  }
  note_shipped_before(batch);
  bool going = true;
  while (going && batch.admitted < batch.items.size()) {
    log::Append& append = batch.items[batch.admitted].append;
    mark_pieces(batch, batch.admitted);
    if (cloud_stream_->failed() || background_stop_ || !going_on()) break;
    if (!cloud_stream_->admit(append, kCarryReserve)) {
      // What is in so far can be finished, so that the applier may follow and make room.
      if (batch.admitted > batch.finished)
        going = co_await finish_admitted(batch);
      else
        co_await wait_for_cloud_room();
      continue;
    }
    ++batch.admitted;
  }
  const bool finished = co_await finish_admitted(batch);
  co_return finished&& batch.finished == batch.items.size();
}

/// Waits until what was queued is durable in the cloud, then installs it.
Task<bool> HybridDisk::finish_admitted(ShipBatch& batch) {
  for (size_t i = batch.finished; i < batch.admitted; ++i)
    co_await cloud_stream_->completed(batch.items[i].append);
  IoStatus status = cloud_stream_->failure();
  if (status == IoStatus::ok && !planted(Planted::skip_cloud_flush))
    status = co_await cloud_stream_->flush();
  if (status != IoStatus::ok) {
    on_cloud_status(status);
    co_return false;
  }
  for (; batch.finished < batch.admitted; ++batch.finished)
    install_shipped(batch.items[batch.finished]);
  note_shipped_before(batch);
  cloud_progress_.notify_all();
  apply_work_.notify_all();
  co_return true;
}

/// Every local seq below that of the batch's first unfinished item is in the cloud. Said before the
/// item itself gets room: the applier may depend on just that.
void HybridDisk::note_shipped_before(const ShipBatch& batch) {
  if (batch.damaged || batch.finished == batch.items.size()) return;
  const Seq next(batch.items[batch.finished].append.entry.seq);
  shipped_seq_ = std::max(shipped_seq_, next - 1);
}

/// Hands what is durable in the cloud over to the cloud layer.
void HybridDisk::install_shipped(const ShipItem& item) {
  const log::Entry& entry = item.append.entry;
  const Lba lba(entry.lba);
  switch (entry.kind) {
    case log::EntryKind::data:
      install_cloud(lba, entry.count, item.append.address, Seq(entry.seq));
      break;
    case log::EntryKind::zero:
      install_cloud_extent(lba, entry.count, ExtentKind::zero, Seq(entry.seq));
      local_extents_.erase_up_to(lba, entry.count, Seq(entry.seq));
      break;
    case log::EntryKind::lost:
      for (uint64_t i = 0; i < entry.count && item.local_address != kUnknownAddress; ++i) {
        if (!local_index_.erase_if(lba + i, item.local_address + i)) continue;
        ++stats_.lost_blocks;
        log_error("disk {}: block {} is lost: its only copy in the pool is unreadable", name(),
                  lba.value + i);
      }
      install_cloud_extent(lba, entry.count, ExtentKind::lost, Seq(entry.seq));
      break;
    default:
      break;
  }
}

/// The whole batch is in the cloud.
void HybridDisk::finish_ship_batch(ShipBatch& batch) {
  shipped_ = std::max(shipped_, batch.end);
  shipped_seq_ = std::max(shipped_seq_, batch.last_seq);
  dirty_bytes_ -= std::min(dirty_bytes_, batch.data_bytes);
  if (!ship_pending()) {
    dirty_bytes_ = 0;
    lag_head_ = lag_samples_.size();
  }
  while (lag_head_ < lag_samples_.size() && lag_samples_[lag_head_].end < shipped_) ++lag_head_;
  cloud_progress_.notify_all();
  apply_work_.notify_all();
  pool_.poke();
}

}  // namespace latte
