// SegmentSpace: a device cut into segments, shared by the streams of all its disks. Keeps which
// segments are free, the CRC of every data block, and the superblock with each stream's tail.
//
// Invariants:
//  1. A segment is handed out again only after a superblock that excludes its former life (a higher
//     tail_order of its stream) is durable. So whatever lies at or above a stream's tail was never
//     overwritten, and what lies below it counts for nothing.
//  2. A segment with readers (pins) is not handed out.
//  3. The two superblock copies are written in turn, each flushed before the next.
// Thread rule: one reactor.
// Memory: 4 bytes of CRC and 1 of marks (access count, copy) per block, 8 more of seq where
// `keep_seqs` asks for it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/zeroed_array.h"
#include "log/log_format.h"
#include "runtime/block_device.h"
#include "runtime/sync.h"

namespace latte::log {

/// Number of a block on the space's device, counted from the first segment; fits 48 bits.
using BlockAddress = uint64_t;

class SegmentSpace {
 public:
  struct Options {
    SpaceKind kind = SpaceKind::pool;
    uint64_t segment_bytes = 4u << 20;  ///< a power of two, kMinSegmentBytes to kMaxSegmentBytes
    uint64_t size_bytes = 0;            ///< of the device's beginning; 0: all of it
    Uuid space_id;
    bool keep_seqs = false;  ///< remember the seq of each block (the cloud log's applier needs it)
  };

  /// Writes an empty space over the device, or its beginning. Errors: invalid (too small), io.
  static Task<Result<void>> format(BlockDevice& device, Options options);
  /// Reads and checks the superblock. Errors: not_found, unsupported, damaged, io.
  static Task<Result<std::unique_ptr<SegmentSpace>>> open(Reactor& reactor, BlockDevice& device,
                                                          SpaceKind kind, bool keep_seqs);

  /// Makes durable what open() has read: a process that died may have left the superblock in a
  /// volatile cache, where a power loss would find it gone again. Call it before relying on it.
  Task<Result<void>> settle();

  const Uuid& id() const { return super_.space_id; }
  Reactor& reactor() { return reactor_; }
  BlockDevice& device() { return device_; }
  uint32_t segment_blocks() const { return segment_blocks_; }
  uint64_t segment_count() const { return super_.segment_count; }
  uint64_t size_bytes() const { return super_.segment_count * super_.segment_bytes; }
  uint64_t free_segments() const { return free_count_; }
  uint64_t memory_bytes() const;

  /// Streams in the superblock. A change is durable only after write_super().
  std::span<StreamSlot> streams() { return super_.streams; }
  PoolMark& pool_mark() { return super_.pool; }
  StreamSlot* find_stream(const Uuid& disk_id);
  StreamSlot* find_stream_by_name(std::string_view name);
  /// A free slot, or null.
  StreamSlot* free_slot();
  /// Makes the current superblock durable; concurrent calls share a write.
  Task<IoStatus> write_super();

  /// Takes a free segment, or returns false. The lowest one first while the space is new, then the
  /// one freed longest ago.
  bool allocate(uint32_t& segment);
  bool is_free(uint32_t segment) const { return segments_[segment].free; }
  /// Marks a segment as in use (recovery). It must be free.
  void claim(uint32_t segment);
  /// Gives a segment back; the caller made its exclusion durable before (invariant 1). It becomes
  /// free when its last reader is done.
  void release(uint32_t segment);
  /// Notified when a segment becomes free.
  WaitQueue& freed() { return freed_; }

  BlockAddress address(uint32_t segment, uint32_t block) const {
    return uint64_t{segment} * segment_blocks_ + block;
  }
  uint32_t segment_of(BlockAddress a) const { return static_cast<uint32_t>(a / segment_blocks_); }
  uint32_t block_of(BlockAddress a) const { return static_cast<uint32_t>(a % segment_blocks_); }
  uint64_t device_offset(BlockAddress a) const {
    return super_.first_segment_offset + a * kBlockBytes;
  }

  /// Plain CRC-32C of the data at an address.
  uint32_t crc(BlockAddress a) const { return crcs_[a]; }
  void set_crc(BlockAddress a, uint32_t crc) { crcs_[a] = crc; }
  Seq seq(BlockAddress a) const { return Seq(seqs_[a]); }
  void set_seq(BlockAddress a, Seq seq) { seqs_[a] = seq.value; }
  /// Reads of the block since it was written, saturating at 3 (S3-FIFO's counter).
  uint8_t accesses(BlockAddress a) const { return marks_[a] & kAccesses; }
  void note_access(BlockAddress a) {
    if (accesses(a) < kAccesses) ++marks_[a];
  }
  /// Is the block a clean copy (EntryKind::copy) of what the cloud has?
  bool is_copy(BlockAddress a) const { return (marks_[a] & kCopy) != 0; }
  /// The block at `to` is that at `from`, which was read: it has one round less to go (S3-FIFO).
  void carry_accesses(BlockAddress from, BlockAddress to) {
    marks_[to] = static_cast<uint8_t>(marks_[to] + accesses(from) - 1);
  }
  /// The block is written anew: no reads so far.
  void begin_life(BlockAddress a, EntryKind kind) {
    marks_[a] = kind == EntryKind::copy ? kCopy : uint8_t{0};
  }

  /// Stream order of the segment an address lies in.
  uint64_t order_of(uint32_t segment) const { return segments_[segment].order; }
  void set_order(uint32_t segment, uint64_t order) { segments_[segment].order = order; }

  /// Keeps a segment from being handed out while it is read. Move only.
  class Pin {
   public:
    Pin() = default;
    Pin(SegmentSpace& space, uint32_t segment) : space_(&space), segment_(segment) {
      ++space.segments_[segment].pins;
    }
    Pin(Pin&& other) noexcept
        : space_(std::exchange(other.space_, nullptr)), segment_(other.segment_) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(space_, other.space_);
      std::swap(segment_, other.segment_);
      return *this;
    }
    ~Pin() {
      if (space_ != nullptr) space_->unpin(segment_);
    }

   private:
    SegmentSpace* space_ = nullptr;
    uint32_t segment_ = 0;
  };

  /// True if every block of `data`, read from `a` on, matches its CRC. `bad` gets the first that
  /// doesn't.
  bool verify(BlockAddress a, std::span<const std::byte> data, uint32_t* bad = nullptr) const;

 private:
  // In marks_:
  static constexpr uint8_t kAccesses = 3;
  static constexpr uint8_t kCopy = 0x80;

  struct Segment {
    bool free = true;
    bool releasing = false;
    uint32_t pins = 0;
    uint64_t order = 0;
  };

  SegmentSpace(Reactor& reactor, BlockDevice& device, const SpaceSuper& super, bool keep_seqs);
  void unpin(uint32_t segment);
  void make_free(uint32_t segment);

  Reactor& reactor_;
  BlockDevice& device_;
  SpaceSuper super_;
  uint32_t segment_blocks_;
  std::vector<Segment> segments_;
  std::deque<uint32_t> free_;  // may hold segments claimed meanwhile; allocate() skips those
  uint64_t free_count_;
  ZeroedArray<uint32_t> crcs_;
  ZeroedArray<uint8_t> marks_;
  ZeroedArray<uint64_t> seqs_;
  WaitQueue freed_;
  WaitQueue super_written_;
  bool super_writing_ = false;
  uint64_t super_wanted_ = 0;
  uint64_t super_done_ = 0;
  IoStatus super_status_ = IoStatus::ok;
};

}  // namespace latte::log
