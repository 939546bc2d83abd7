#include "log/log_stream.h"

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "base/planted.h"

namespace latte::log {
namespace {

/// Most data blocks gathered into one record (2 MiB) and entries, so that one write stays one I/O
/// of a size every device takes.
constexpr uint32_t kGatherBlocks = 512;
constexpr uint32_t kGatherEntries = 512;
static_assert(kGatherBlocks <= kMaxRecordDataBlocks && kGatherEntries <= kMaxRecordEntries);
static_assert(kMaxAppendBlocks <= kGatherBlocks);

/// A flush of its own after so many segments, if nobody asks for one: recovery reads all data that
/// was not flushed, so this bounds it (64 MiB with segments of 4 MiB).
constexpr uint32_t kFlushEverySegments = 16;

}  // namespace

// One device write: a record, or a sealed segment's table.
struct LogStream::Batch {
  IoRequest request;
  std::vector<iovec> iov;
  Buffer memory;  // headers, or the table
  IntrusiveList<Append> appends;
  LogPosition end;     // of the stream once this batch is complete
  uint64_t count = 0;  // of appends
  bool is_record = false;
  bool done = false;
};

LogStream::LogStream(Reactor& reactor, SegmentSpace& space, Options options, WriteAccount& account)
    : reactor_(reactor),
      space_(space),
      options_(options),
      account_(account),
      boot_id_(reactor.boot_id()),
      progress_(reactor) {
  // Small segments (tests, tiny pools) still hold at least one append besides header and table.
  max_append_blocks_ = std::min(kMaxAppendBlocks, (space.segment_blocks() - 4) / 2);
}

LogStream::~LogStream() {
  for (Batch* batch : inflight_) delete batch;
}

void LogStream::resume(Resumed from) {
  LATTE_CHECK(chain_.empty() && !open_);
  chain_.assign(from.chain.begin(), from.chain.end());
  assigned_end_ = completed_end_ = from.end;
  durable_ = std::min(from.durable, from.end);
  next_order_ = from.next_order;
  if (from.open) {
    LATTE_CHECK(!chain_.empty() && !chain_.back().sealed);
    open_ = true;
    salt_ = chain_.back().salt;
    next_block_ = chain_.back().used_blocks;
    next_index_ = from.next_index;
    table_ = std::move(from.table);
    table_crcs_ = std::move(from.table_crcs);
  }
  // What recovery read may still sit in a volatile cache: count it as one append not yet durable.
  admitted_count_ = completed_count_ = 1;
  durable_count_ = 0;
}

/// Puts one more append into the record being gathered, if record and segment have room for it.
bool LogStream::extend_record(Fill& fill, uint32_t data_blocks, uint32_t segment_blocks) {
  const uint32_t entries = fill.record_entries + 1;
  const uint32_t data = fill.record_data + data_blocks;
  if (entries > kGatherEntries || data > kGatherBlocks) return false;
  const uint64_t total = fill.block + record_header_blocks(entries, data) + data +
                         table_blocks(fill.table_entries + entries, fill.table_data + data) + 1;
  if (total > segment_blocks) return false;
  fill.record_entries = entries;
  fill.record_data = data;
  return true;
}

void LogStream::end_record(Fill& fill) {
  if (fill.record_entries == 0) return;
  fill.block += record_header_blocks(fill.record_entries, fill.record_data) + fill.record_data;
  fill.table_entries += fill.record_entries;
  fill.table_data += fill.record_data;
  fill.record_entries = fill.record_data = 0;
}

/// Puts one more append into the segment, in this record or the next. False = it needs another
/// segment.
bool LogStream::add(Fill& fill, uint32_t data_blocks, uint32_t segment_blocks) {
  if (!fill.open) return false;
  if (extend_record(fill, data_blocks, segment_blocks)) return true;
  end_record(fill);
  return extend_record(fill, data_blocks, segment_blocks);
}

LogStream::Fill LogStream::present_fill() const {
  if (!queue_.empty()) return fill_;
  return Fill{open_, next_block_, table_.size(), table_crcs_.size(), 0, 0};
}

bool LogStream::has_room(uint32_t data_blocks, uint64_t reserve_segments) const {
  if (space_.free_segments() < reserve_segments) return false;
  Fill fill = present_fill();
  return add(fill, data_blocks, space_.segment_blocks()) ||
         space_.free_segments() > reserve_segments;
}

/// Admission walks the same steps as build_record() will: same order, same limits. So an append
/// that was admitted finds its segment claimed.
bool LogStream::admit(Append& append, uint64_t reserve_segments) {
  LATTE_CHECK(!failed());
  const uint32_t data_blocks = append.data_blocks();
  LATTE_CHECK(data_blocks <= max_append_blocks_);
  // A segment out of the reserve is for those who may take it.
  if (space_.free_segments() < reserve_segments) return false;
  Fill fill = present_fill();
  if (!add(fill, data_blocks, space_.segment_blocks())) {
    uint32_t segment = 0;
    if (space_.free_segments() <= reserve_segments || !space_.allocate(segment)) return false;
    claimed_.push_back(segment);
    fill = Fill{true, 1, 0, 0, 0, 0};
    LATTE_CHECK(extend_record(fill, data_blocks, space_.segment_blocks()));
  }
  fill_ = fill;
  append.done = false;
  append.status = IoStatus::ok;
  queue_.push_back(append);
  ++admitted_count_;
  reactor_.arm(*this);
  return true;
}

void LogStream::at_turn_end() {
  while (!queue_.empty() && !failed() && records_inflight_ < kMaxInflightRecords) build_record();
  if (failed()) finish_batches();
}

LogStream::Batch* LogStream::new_batch() {
  if (spare_batches_.empty()) return new Batch;
  Batch* batch = spare_batches_.back().release();
  spare_batches_.pop_back();
  return batch;
}

void LogStream::open_segment() {
  LATTE_CHECK(!open_ && !claimed_.empty());
  const uint32_t segment = claimed_.front();
  claimed_.pop_front();
  salt_ = reactor_.random().next();
  SegmentHeader header{};
  header.space_id = space_.id();
  header.disk_id = options_.disk_id;
  header.generation = options_.generation;
  header.order = next_order_++;
  header.salt = salt_;
  header.previous_end = assigned_end_;
  header.durable = durable_;
  header.completed = completed_end_;
  header.boot_id = boot_id_;
  header.wall_time_ns = reactor_.wall_now();
  log::seal(header);
  pending_segment_header_ = Buffer(kBlockBytes);
  std::memcpy(pending_segment_header_.data(), &header, sizeof(header));
  space_.set_order(segment, header.order);
  chain_.push_back(ChainSegment{segment, header.order, salt_, 0, 1, false});
  open_ = true;
  next_block_ = 1;
  next_index_ = 0;
  table_.clear();
  table_crcs_.clear();
}

void LogStream::build_record() {
  if (!open_) open_segment();  // the first append of the queue claimed one
  Fill fill{true, next_block_, table_.size(), table_crcs_.size(), 0, 0};
  bool full = false;
  queue_.for_each([&](Append& append) {
    full = full || !extend_record(fill, append.data_blocks(), space_.segment_blocks());
  });
  const uint32_t entries = fill.record_entries;
  const uint32_t data_blocks = fill.record_data;
  if (entries == 0) {
    seal_segment();
    return;
  }
  const uint32_t header_blocks = record_header_blocks(entries, data_blocks);
  Batch* batch = new_batch();
  batch->is_record = true;
  batch->count = entries;
  const bool first = !pending_segment_header_.empty();
  batch->memory = Buffer(size_t{header_blocks + (first ? 1u : 0u)} * kBlockBytes);
  std::byte* header = batch->memory.data();
  uint32_t start_block = next_block_;
  if (first) {
    std::memcpy(header, pending_segment_header_.data(), kBlockBytes);
    header += kBlockBytes;
    start_block = 0;
    pending_segment_header_ = Buffer();
  }
  batch->iov.push_back({batch->memory.data(), batch->memory.size()});
  for (uint32_t i = 0; i < entries; ++i) batch->appends.push_back(queue_.pop_front());
  fill_header(*batch, {header, size_t{header_blocks} * kBlockBytes}, data_blocks);

  next_block_ += header_blocks + data_blocks;
  ++next_index_;
  chain_.back().used_blocks = next_block_;
  assigned_end_ = LogPosition{chain_.back().order, next_block_};
  batch->end = assigned_end_;
  batch->request.op = IoOp::write;
  batch->request.offset = space_.device_offset(space_.address(chain_.back().segment, start_block));
  batch->request.length = batch->memory.size() + size_t{data_blocks} * kBlockBytes;
  inflight_.push_back(batch);
  ++records_inflight_;
  account_.add(WriteCause::metadata, batch->memory.size());
  reactor_.spawn(write_batch(batch));
}

void LogStream::fill_header(Batch& batch, std::span<std::byte> header, uint32_t data_blocks) {
  std::memset(header.data(), 0, header.size());
  RecordHeader fields{};
  fields.magic = kRecordMagic;
  fields.salt = salt_;
  fields.index = next_index_;
  fields.block = next_block_;
  fields.header_blocks = static_cast<uint32_t>(header.size() / kBlockBytes);
  fields.data_blocks = data_blocks;
  fields.entry_count = static_cast<uint32_t>(batch.count);
  fields.wall_time_ns = reactor_.wall_now();
  fields.durable = durable_;
  fields.completed = completed_end_;
  fields.boot_id = boot_id_;
  std::memcpy(header.data(), &fields, sizeof(fields));

  ChainSegment& segment = chain_.back();
  std::byte* entry_at = header.data() + sizeof(RecordHeader);
  auto* crc_at = reinterpret_cast<uint32_t*>(entry_at + batch.count * sizeof(Entry));
  uint32_t block = next_block_ + fields.header_blocks;
  batch.appends.for_each([&](Append& append) {
    std::memcpy(entry_at, &append.entry, sizeof(Entry));
    entry_at += sizeof(Entry);
    append.position = LogPosition{segment.order, next_block_};
    append.address = space_.address(segment.segment, block);
    segment.max_seq = std::max(segment.max_seq, last_seq_of(append.entry));
    table_.push_back(TableEntry{append.entry, next_block_, block});
    const uint32_t blocks = append.data_blocks();
    for (uint32_t i = 0; i < blocks; ++i) {
      const uint32_t crc = crc32c({append.data + size_t{i} * kBlockBytes, kBlockBytes});
      space_.set_crc(append.address + i, crc);
      space_.begin_life(append.address + i, append.entry.kind);
      if (options_.keep_seqs) space_.set_seq(append.address + i, Seq(append.entry.seq));
      *crc_at = bound_crc(crc, Lba(append.entry.lba + i), Seq(append.entry.seq));
      table_crcs_.push_back(*crc_at++);
    }
    if (blocks > 0) {
      batch.iov.push_back({const_cast<std::byte*>(append.data), size_t{blocks} * kBlockBytes});
      account_.add(append.cause, size_t{blocks} * kBlockBytes);
    }
    block += blocks;
  });
  seal_record(header);
}

void LogStream::seal_segment() {
  LATTE_CHECK(open_ && pending_segment_header_.empty());
  ChainSegment& segment = chain_.back();
  const auto blocks = static_cast<uint32_t>(table_blocks(table_.size(), table_crcs_.size()));
  Batch* batch = new_batch();
  batch->memory = Buffer(size_t{blocks + 1} * kBlockBytes);
  std::memset(batch->memory.data(), 0, batch->memory.size());
  std::memcpy(batch->memory.data(), table_.data(), table_.size() * sizeof(TableEntry));
  if (!table_crcs_.empty())
    std::memcpy(batch->memory.data() + table_.size() * sizeof(TableEntry), table_crcs_.data(),
                table_crcs_.size() * sizeof(uint32_t));
  SegmentFooter footer{};
  footer.salt = salt_;
  footer.order = segment.order;
  footer.used_blocks = next_block_;
  footer.table_blocks = blocks;
  footer.entry_count = static_cast<uint32_t>(table_.size());
  footer.data_blocks = static_cast<uint32_t>(table_crcs_.size());
  footer.table_crc = crc32c(batch->memory.span().first(size_t{blocks} * kBlockBytes));
  footer.record_count = next_index_;
  footer.durable = durable_;
  log::seal(footer);
  std::memcpy(batch->memory.data() + size_t{blocks} * kBlockBytes, &footer, sizeof(footer));

  const uint32_t at = space_.segment_blocks() - blocks - 1;
  LATTE_CHECK(at >= next_block_);
  segment.sealed = true;
  open_ = false;
  batch->end = assigned_end_;
  batch->iov.push_back({batch->memory.data(), batch->memory.size()});
  batch->request.op = IoOp::write;
  batch->request.offset = space_.device_offset(space_.address(segment.segment, at));
  batch->request.length = batch->memory.size();
  account_.add(WriteCause::metadata, batch->memory.size());
  inflight_.push_back(batch);
  ++tables_inflight_;
  if (++sealed_since_flush_ >= kFlushEverySegments) {
    sealed_since_flush_ = 0;
    reactor_.spawn(flush_behind());
  }
  reactor_.spawn(write_batch(batch));
}

Task<void> LogStream::write_batch(Batch* batch) {
  IoRequest& request = batch->request;
  request.iov = batch->iov.data();
  request.iov_count = static_cast<uint32_t>(batch->iov.size());
  if (planted(Planted::ack_before_write)) {
    batch->done = true;
    finish_batches();
    co_return;
  }
  const IoStatus status = co_await space_.device().io(request);
  if (status != IoStatus::ok && !failed()) failure_ = status;
  batch->done = true;
  finish_batches();
}

void LogStream::finish_batches() {
  if (planted(Planted::skip_inflight_order))
    std::stable_partition(inflight_.begin(), inflight_.end(), [](Batch* b) { return b->done; });
  while (!inflight_.empty() && inflight_.front()->done) {
    Batch* batch = inflight_.front();
    inflight_.pop_front();
    if (!failed()) {
      completed_count_ += batch->count;
      completed_end_ = batch->end;
    }
    --(batch->is_record ? records_inflight_ : tables_inflight_);
    while (!batch->appends.empty()) {
      Append& append = batch->appends.pop_front();
      append.status = failure_;
      append.done = true;
      if (append.waiter) reactor_.schedule(append.waiter);
    }
    batch->iov.clear();
    batch->memory = Buffer();
    batch->is_record = batch->done = false;
    batch->count = 0;
    spare_batches_.emplace_back(batch);
  }
  if (failed()) {
    while (!queue_.empty()) {
      Append& append = queue_.pop_front();
      append.status = failure_;
      append.done = true;
      if (append.waiter) reactor_.schedule(append.waiter);
    }
  } else if (!queue_.empty()) {
    reactor_.arm(*this);
  }
  progress_.notify_all();
}

Task<void> LogStream::flush_behind() { (void)co_await flush(); }

/// Makes the first `target` appends durable.
Task<IoStatus> LogStream::flush_to(uint64_t target) {
  for (;;) {
    if (failed()) co_return failure_;
    if (durable_count_ >= target) co_return IoStatus::ok;
    if (completed_count_ < target || flushing_) {
      co_await progress_.wait();
      continue;
    }
    flushing_ = true;
    const uint64_t covers = completed_count_;
    const LogPosition end = completed_end_;
    const IoStatus status = co_await space_.device().flush();
    flushing_ = false;
    if (status == IoStatus::ok) {
      durable_count_ = std::max(durable_count_, covers);
      durable_ = std::max(durable_, end);
    } else if (!failed()) {
      failure_ = status;
      finish_batches();
    }
    progress_.notify_all();
  }
}

Task<IoStatus> LogStream::seal_open_segment() {
  while (!queue_.empty() && !failed()) co_await progress_.wait();
  if (failed()) co_return failure_;
  if (!open_ || next_index_ == 0) co_return IoStatus::ok;
  seal_segment();
  while (tables_inflight_ > 0 && !failed()) co_await progress_.wait();
  co_return failure_;
}

Task<void> LogStream::quiesce() {
  while (!idle() || flushing_) co_await progress_.wait();
}

void LogStream::cut_front(uint64_t order, std::vector<uint32_t>& out) {
  while (!chain_.empty() && chain_.front().order < order) {
    LATTE_CHECK(!(open_ && chain_.size() == 1));
    out.push_back(chain_.front().segment);
    chain_.pop_front();
  }
}

}  // namespace latte::log
