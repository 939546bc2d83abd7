#include "log/segment_reader.h"

#include <algorithm>
#include <cstring>

#include "base/all_zero.h"
#include "runtime/sync.h"

namespace latte::log {
namespace {

/// Segments looked at together while finding them: hides the device's latency at start.
constexpr size_t kFindDepth = 32;
/// Bytes read at a time while scanning records.
constexpr uint32_t kScanBlocks = 256;

struct FindState {
  explicit FindState(Reactor& reactor) : ended(reactor) {}
  uint64_t next = 0;
  size_t running = 0;
  uint64_t unreadable = 0;
  std::vector<FoundSegment> found;
  WaitQueue ended;
};

/// A request refused in passing must not end a start that makes thousands.
Task<IoStatus> read_patiently(SegmentSpace& space, uint64_t offset, std::span<std::byte> out) {
  IoStatus status = IoStatus::io_error;
  for (int tries = 0; status == IoStatus::io_error && tries < kReadTries; ++tries)
    status = co_await space.device().background_read(offset, out);
  co_return status;
}

Task<void> find_worker(SegmentSpace& space, FindState& state) {
  Buffer block(kBlockBytes);
  while (state.next < space.segment_count()) {
    const auto segment = static_cast<uint32_t>(state.next++);
    const uint64_t offset = space.device_offset(space.address(segment, 0));
    FoundSegment item;
    item.segment = segment;
    IoStatus status = IoStatus::ok;
    bool valid = false;
    for (int tries = 0; tries < kReadTries && !valid; ++tries) {
      status = co_await read_patiently(space, offset, block.span());
      if (status != IoStatus::ok || all_zero(block.span())) break;
      valid = parse_segment_header(block.span(), item.header);
    }
    if (status != IoStatus::ok) ++state.unreadable;
    if (!valid || item.header.space_id != space.id()) continue;
    const uint64_t footer_at =
        space.device_offset(space.address(segment, space.segment_blocks() - 1));
    for (int tries = 0; tries < kReadTries && !item.sealed; ++tries) {
      status = co_await read_patiently(space, footer_at, block.span());
      if (status != IoStatus::ok || all_zero(block.span())) break;
      item.sealed = parse_segment_footer(block.span(), space.segment_blocks(), item.footer) &&
                    item.footer.salt == item.header.salt && item.footer.order == item.header.order;
    }
    state.found.push_back(item);
  }
  --state.running;
  state.ended.notify_all();
}

void note_completed(const RecordView& record, SegmentContent& content) {
  content.completed = record.header.completed;
  content.boot_id = record.header.boot_id;
}

/// Appends a record's entries to `content`, as the table would have them.
void take_record(const RecordView& record, SegmentContent& content) {
  uint32_t data_block = record.header.block + record.header.header_blocks;
  for (const Entry& entry : record.entries) {
    content.entries.push_back(TableEntry{entry, record.header.block, data_block});
    content.wall_times.push_back(record.header.wall_time_ns);
    if (has_data(entry.kind)) data_block += static_cast<uint32_t>(entry.count);
  }
  content.crcs.insert(content.crcs.end(), record.crcs.begin(), record.crcs.end());
  content.durable = std::max(content.durable, record.header.durable);
  note_completed(record, content);
  ++content.record_count;
}

Task<bool> load_table(SegmentSpace& space, const FoundSegment& found, SegmentContent& content) {
  Buffer bytes(size_t{found.footer.table_blocks} * kBlockBytes);
  const uint32_t at = space.segment_blocks() - 1 - found.footer.table_blocks;
  TableView table;
  bool valid = false;
  for (int tries = 0; tries < kReadTries && !valid; ++tries) {
    const IoStatus status =
        co_await read_blocks(space, space.address(found.segment, at), bytes.span());
    valid = status == IoStatus::ok &&
            parse_table(bytes.span(), found.footer, space.segment_blocks(), table);
  }
  if (!valid) co_return false;
  content.entries.assign(table.entries.begin(), table.entries.end());
  content.crcs.assign(table.crcs.begin(), table.crcs.end());
  content.end_block = found.footer.used_blocks;
  content.durable = found.footer.durable;
  content.from_table = true;
  co_return true;
}

/// Walks the records. Behind an invalid place it looks on, block by block, for a later record of
/// the same life: finding one tells damage from the end of the log.
Task<void> scan_records(SegmentSpace& space, const FoundSegment& found, uint32_t limit,
                        SegmentContent& content) {
  Buffer window(size_t{kScanBlocks + kMaxHeaderBlocks} * kBlockBytes);
  uint32_t window_start = 0;
  uint32_t window_blocks = 0;
  uint32_t at = 1;
  uint32_t index = 0;
  bool in_gap = false;
  int tries = 0;
  while (at < limit) {
    const uint32_t wanted = std::min<uint32_t>(kMaxHeaderBlocks, limit - at);
    if (at < window_start || at + wanted > window_start + window_blocks) {
      window_start = at;
      window_blocks = std::min<uint32_t>(kScanBlocks + kMaxHeaderBlocks, limit - at);
      const IoStatus status =
          co_await read_blocks(space, space.address(found.segment, at),
                               window.span().first(size_t{window_blocks} * kBlockBytes));
      if (status != IoStatus::ok) {
        content.unreadable = true;
        co_return;
      }
    }
    RecordView record;
    uint32_t need = 0;
    const auto bytes = window.span()
                           .first(size_t{window_blocks} * kBlockBytes)
                           .subspan(size_t{at - window_start} * kBlockBytes);
    const bool valid =
        parse_record(bytes, found.header.salt, at, space.segment_blocks(), record, need) &&
        record.header.index >= index && at + record.total_blocks() <= limit;
    if (valid && (in_gap || record.header.index != index)) {
      // All of them are looked at: a later one may say that what is missing had been durable.
      if (!in_gap) content.gap_block = at;
      in_gap = content.gap_inside = true;
      content.durable = std::max(content.durable, record.header.durable);
      note_completed(record, content);
      at += record.total_blocks();
      continue;
    }
    if (valid) {
      take_record(record, content);
      ++index;
      at += record.total_blocks();
      content.end_block = at;
      tries = 0;
      continue;
    }
    if (!in_gap && ++tries < kReadTries) {
      window_blocks = 0;  // read it again
      continue;
    }
    if (!in_gap) content.gap_block = at;
    in_gap = true;
    ++at;
  }
}

}  // namespace

Task<std::vector<FoundSegment>> find_segments(Reactor& reactor, SegmentSpace& space,
                                              uint64_t* unreadable) {
  FindState state(reactor);
  state.running = kFindDepth;
  for (size_t i = 0; i < kFindDepth; ++i) reactor.spawn(find_worker(space, state));
  while (state.running > 0) co_await state.ended.wait();
  if (unreadable != nullptr) *unreadable = state.unreadable;
  std::sort(state.found.begin(), state.found.end(),
            [](const FoundSegment& a, const FoundSegment& b) { return a.segment < b.segment; });
  co_return std::move(state.found);
}

Task<FoundSegment> find_footer(SegmentSpace& space, uint32_t segment, uint64_t salt) {
  FoundSegment found;
  found.segment = segment;
  found.header.salt = salt;
  Buffer block(kBlockBytes);
  const BlockAddress last = space.address(segment, space.segment_blocks() - 1);
  const IoStatus status = co_await read_patiently(space, space.device_offset(last), block.span());
  found.sealed = status == IoStatus::ok &&
                 parse_segment_footer(block.span(), space.segment_blocks(), found.footer) &&
                 found.footer.salt == salt;
  co_return found;
}

Task<SegmentContent> load_segment(SegmentSpace& space, const FoundSegment& found,
                                  uint32_t limit_block) {
  SegmentContent content;
  if (found.sealed) {
    const bool loaded = co_await load_table(space, found, content);
    if (loaded) co_return content;
    content = SegmentContent{};
    limit_block = std::min(limit_block, found.footer.used_blocks);
  }
  content.durable = found.header.durable;
  content.completed = found.header.completed;
  content.boot_id = found.header.boot_id;
  co_await scan_records(space, found, std::min(limit_block, space.segment_blocks()), content);
  co_return content;
}

Task<IoStatus> read_blocks(SegmentSpace& space, BlockAddress first, std::span<std::byte> data) {
  const uint64_t piece = round_down(space.device().info().max_request_bytes, kBlockBytes);
  const uint64_t start = space.device_offset(first);
  for (uint64_t at = 0; at < data.size(); at += piece) {
    const auto part = data.subspan(at, std::min<uint64_t>(piece, data.size() - at));
    const IoStatus status = co_await read_patiently(space, start + at, part);
    if (status != IoStatus::ok) co_return status;
  }
  co_return IoStatus::ok;
}

}  // namespace latte::log
