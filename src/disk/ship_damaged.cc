// HybridDisk, the shipper where the pool's log can't be read: by the segment's table, else by the
// index. What is gone goes to the cloud as lost, so that nobody is ever served something older.
// Copies are not looked at: what they hold is in the cloud.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "base/logging.h"
#include "disk/ship_batch.h"

namespace latte {
namespace {

/// How soon a damaged stretch is looked at again while writes are under way.
constexpr TimeNs kDamageRetryNs = 5 * kMillisecond;

}  // namespace

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
    if (address >= low && address < high && !space.is_copy(address))
      blocks.emplace_back(lba, address);
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
    while (!gaps_.empty() && gaps_.front().first + (gaps_.front().count - 1) <= seq)
      gaps_.pop_front();
    if (!gaps_.empty() && gaps_.front().first <= seq) {
      gaps_.front().count -= seq + 1 - gaps_.front().first;
      gaps_.front().first = seq + 1;
    }
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
    if (at >= end && !space.is_copy(address)) ranges.emplace_back(lba, 1);
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

}  // namespace latte
