// HybridDisk, the shipper's reading side: a piece of the pool's log, checked block by block, as
// entries for the cloud's log.
//
// Limits: kShipBlocks of the pool's log in memory at a time.
#include <algorithm>

#include "base/crc32c.h"
#include "disk/ship_batch.h"

namespace latte {
namespace {

/// Blocks of the pool's log read at a time (4.1 MiB): at least one whole record.
constexpr uint32_t kShipBlocks = 1040;
static_assert(kShipBlocks >= log::kMaxRecordDataBlocks + log::kMaxHeaderBlocks);

/// Could this disk have written the record? A table and a record that contradict each other are
/// damage, even if the checksums of both match.
bool fits(const log::RecordView& record, Seq next_seq, uint64_t block_count) {
  return std::all_of(record.entries.begin(), record.entries.end(), [&](const log::Entry& entry) {
    return Seq(entry.seq) < next_seq && range_within(entry.lba, entry.count, block_count);
  });
}

}  // namespace

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
      if (!fits(record, next_seq_, block_count_)) break;
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
  if (entry.kind != log::EntryKind::data && entry.kind != log::EntryKind::zero)
    return;  // notes and copies concern the pool only
  if (Seq(entry.seq) <= shipped_seq_)
    batch.data_bytes += data.size();  // in the cloud since before a restart
  else if (entry.kind == log::EntryKind::data)
    add_ship_data(batch, entry, address, data, crcs);
  else
    batch.items.emplace_back().append.entry = entry;
  batch.last_seq = std::max(batch.last_seq, Seq(entry.seq));
  take_gaps(batch);
}

/// Adds the gaps that follow what the batch holds so far.
void HybridDisk::take_gaps(ShipBatch& batch) {
  const Seq done = std::max(batch.last_seq, shipped_seq_);
  while (!gaps_.empty() && gaps_.front().after <= done) {
    const Gap gap = gaps_.front();
    gaps_.pop_front();
    batch.items.emplace_back().append.entry =
        log::make_entry(log::EntryKind::empty, Lba(0), gap.count, gap.first);
    batch.last_seq = std::max(batch.last_seq, gap.first + (gap.count - 1));
  }
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

}  // namespace latte
