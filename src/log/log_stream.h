// LogStream: one disk's append-only log on a SegmentSpace. The same code writes the local log on
// the pool and the cloud log. Appends queued in one turn of the reactor become one record and one
// device write (group commit); several records may be under way.
//
// Invariants:
//  1. Appends complete in the order in which they were admitted, whatever order the device answers
//     in. So an acknowledged append implies all before it, and recovery may stop at the first gap.
//  2. Room is reserved at admission: an admitted append never waits for a free segment.
//  3. After the first device error everything later fails too (the stream is `failed`); nothing is
//     written behind a gap.
//  4. The chain of segments is in order; it is shortened at the front only (set_tail).
// Thread rule: one reactor. Limits: kMaxInflightRecords, kMaxAppendBlocks, the record limits of
// log_format.h.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "log/log_format.h"
#include "log/segment_space.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

namespace latte::log {

/// Most records of a stream with the device at a time; further appends gather meanwhile.
inline constexpr size_t kMaxInflightRecords = 8;
/// Largest append, in blocks (1 MiB); small segments allow less, see
/// LogStream::max_append_blocks().
inline constexpr uint32_t kMaxAppendBlocks = 256;

/// Why bytes are written, for the write-overhead account.
enum class WriteCause : uint8_t { user, admission, reinsertion, metadata };

/// Bytes written by cause.
struct WriteAccount {
  uint64_t bytes[4] = {0, 0, 0, 0};
  void add(WriteCause cause, uint64_t n) { bytes[static_cast<size_t>(cause)] += n; }
};

/// One append, owned by the caller and alive until it completes.
struct Append : ListNode {
  Entry entry{};
  const std::byte* data = nullptr;  ///< entry.count blocks, aligned, for kinds with data
  WriteCause cause = WriteCause::user;
  IoStatus status = IoStatus::ok;  ///< set at completion
  BlockAddress address = 0;        ///< of the first data block; set before completion
  LogPosition position;            ///< of its record; likewise
  bool done = false;
  std::coroutine_handle<> waiter;  ///< scheduled at completion if set

  uint32_t data_blocks() const {
    return has_data(entry.kind) ? static_cast<uint32_t>(entry.count) : 0;
  }
};

class LogStream final : private TurnHook {
 public:
  struct Options {
    Uuid disk_id;
    uint64_t generation = 0;
    bool keep_seqs = false;  ///< store seqs in the space (cloud log)
  };
  /// `account` gets the bytes written; all arguments outlive the stream.
  LogStream(Reactor& reactor, SegmentSpace& space, Options options, WriteAccount& account);
  ~LogStream();

  struct ChainSegment {
    uint32_t segment = 0;
    uint64_t order = 0;
    uint64_t salt = 0;         ///< of its records
    uint64_t max_seq = 0;      ///< highest seq of an entry in it
    uint32_t used_blocks = 0;  ///< end of its last record
    bool sealed = false;       ///< has a table
  };
  /// What recovery found (recovery.h).
  struct Resumed {
    std::vector<ChainSegment> chain;  ///< segments in use, oldest first
    LogPosition end;                  ///< of the stream's content
    LogPosition durable;
    uint64_t next_order = 1;  ///< of the next segment
    /// The last segment ended cleanly and takes further records; then its records so far:
    bool open = false;
    uint32_t next_index = 0;
    std::vector<TableEntry> table;
    std::vector<uint32_t> table_crcs;
  };
  /// Continues after recovery. Call once, before anything is admitted.
  void resume(Resumed from);

  /// Largest append these segments can take, in blocks.
  uint32_t max_append_blocks() const { return max_append_blocks_; }
  /// Would admit() succeed, leaving `reserve_segments` free in the space? Not while fewer are free,
  /// even if the open segment had room: somebody with a lower reserve opened it, and needs it.
  bool has_room(uint32_t data_blocks, uint64_t reserve_segments) const;
  /// Queues `append` for this turn's record. False = no room, nothing happened. The stream must not
  /// be failed.
  bool admit(Append& append, uint64_t reserve_segments);
  /// `co_await stream.completed(append)`: resumes once it is done; see append.status.
  struct Completion {
    Append& append;
    bool await_ready() const { return append.done; }
    void await_suspend(std::coroutine_handle<> handle) { append.waiter = handle; }
    void await_resume() const {}
  };
  Completion completed(Append& append) { return Completion{append}; }

  /// Makes everything admitted so far durable. Concurrent calls share device flushes.
  Task<IoStatus> flush() { return flush_to(admitted_count_); }
  /// Likewise everything completed so far; what is still under way is not waited for.
  Task<IoStatus> flush_completed() { return flush_to(completed_count_); }
  /// Closes the open segment with its table even if it is not full, so that it can be reclaimed.
  /// Resumes when the table is written. No-op if the open segment holds no record.
  Task<IoStatus> seal_open_segment();
  /// Lets everything under way end; nothing may be admitted afterwards.
  Task<void> quiesce();

  /// Appends and flushes failed; nothing more is accepted. `reason` says how.
  bool failed() const { return failure_ != IoStatus::ok; }
  IoStatus failure() const { return failure_; }
  /// Fails the stream from outside (the device is given up).
  void fail(IoStatus reason) { failure_ = reason; }

  /// Segments in use, oldest first. The last one is open unless `open() == false`.
  const std::deque<ChainSegment>& chain() const { return chain_; }
  bool open() const { return open_; }
  /// Of the next segment: above every order that this stream ever used.
  uint64_t next_order() const { return next_order_; }
  /// What the open segment's table will say.
  const std::vector<TableEntry>& open_table() const { return table_; }
  const std::vector<uint32_t>& open_table_crcs() const { return table_crcs_; }
  /// End of what has been written and completed / assigned to a record / flushed.
  LogPosition completed_end() const { return completed_end_; }
  LogPosition assigned_end() const { return assigned_end_; }
  LogPosition durable_end() const { return durable_; }
  /// Notified when something completed or failed.
  WaitQueue& progress() { return progress_; }
  bool idle() const { return inflight_.empty() && queue_.empty(); }
  /// True if everything admitted has been made durable.
  bool all_durable() const { return durable_count_ == admitted_count_; }

  /// Ends a failed stream for good: its open segment counts as closed.
  void close() {
    LATTE_CHECK(failed());
    open_ = false;
  }
  /// Takes the segments below `order` out of the chain and appends them to `out`. The caller makes
  /// the new tail durable in the superblock, then releases them to the space.
  void cut_front(uint64_t order, std::vector<uint32_t>& out);

 private:
  struct Batch;
  /// How full a segment is, with a record being gathered.
  struct Fill {
    bool open = false;
    uint32_t block = 0;  // next free one
    uint64_t table_entries = 0;
    uint64_t table_data = 0;
    uint32_t record_entries = 0;
    uint32_t record_data = 0;
  };
  static bool extend_record(Fill& fill, uint32_t data_blocks, uint32_t segment_blocks);
  static void end_record(Fill& fill);
  static bool add(Fill& fill, uint32_t data_blocks, uint32_t segment_blocks);
  Fill present_fill() const;

  void at_turn_end() override;
  void build_record();
  void open_segment();
  void seal_segment();
  Task<void> write_batch(Batch* batch);
  Task<void> flush_behind();
  Task<IoStatus> flush_to(uint64_t target);
  void finish_batches();
  void fill_header(Batch& batch, std::span<std::byte> header, uint32_t data_blocks);
  Batch* new_batch();

  Reactor& reactor_;
  SegmentSpace& space_;
  Options options_;
  WriteAccount& account_;
  uint32_t max_append_blocks_;

  std::deque<ChainSegment> chain_;
  std::deque<uint32_t> claimed_;  // allocated ahead for admitted appends
  uint64_t next_order_ = 1;
  bool open_ = false;  // chain_.back() takes records
  uint64_t salt_ = 0;
  uint32_t next_block_ = 0;  // in the open segment
  uint32_t next_index_ = 0;
  std::vector<TableEntry> table_;  // of the open segment
  std::vector<uint32_t> table_crcs_;
  Buffer pending_segment_header_;  // goes out with the segment's first record
  Fill fill_;                      // as it will be once queue_ is written; see admit()

  IntrusiveList<Append> queue_;  // admitted, not in a record yet
  std::deque<Batch*> inflight_;  // in order
  std::vector<std::unique_ptr<Batch>> spare_batches_;
  size_t records_inflight_ = 0;
  size_t tables_inflight_ = 0;
  uint64_t admitted_count_ = 0;  // of appends
  uint64_t completed_count_ = 0;
  uint64_t durable_count_ = 0;
  LogPosition assigned_end_;
  LogPosition completed_end_;
  LogPosition durable_;
  bool flushing_ = false;
  uint32_t sealed_since_flush_ = 0;
  uint64_t boot_id_;
  IoStatus failure_ = IoStatus::ok;
  WaitQueue progress_;  // a batch or a flush ended
};

}  // namespace latte::log
