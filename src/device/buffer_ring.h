// BufferRing: the writes in a write buffer's memory, oldest first: where their data is, which of
// them the device lacks, and what a read finds in them. Pure: memory in, memory out.
//
// Invariants:
//  1. A slot is published (its seq stored) after its data and its other fields, and taken back
//     (seq 0) when the device has the write: whatever instant the process dies at, the published
//     slots are writes that may be written again in the order of their seqs.
//  2. Room comes back in order, and never under a read (pins).
// Thread rule: one reactor. Limits: one slot for every kBytesPerSlot of data; a write is at most
// max_write_bytes().
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/uuid.h"
#include "device/write_buffer_format.h"
#include "runtime/block_device.h"

namespace latte {

class BufferRing {
 public:
  /// Smallest memory, in bytes.
  static constexpr uint64_t kMinBytes = 64u << 10;
  static constexpr uint64_t kBytesPerSlot = 2 * kBlockBytes;

  /// A write that the device lacks, or did when it was asked for.
  struct Write {
    enum class State : uint8_t { waiting, writing, done } state = State::done;
    uint32_t pins = 0;         ///< reads that need the data
    uint32_t data_block = 0;   ///< in the data area
    uint32_t span_blocks = 0;  ///< what becomes free with it
    uint64_t offset = 0;       ///< on the device, bytes
    uint64_t length = 0;       ///< bytes
    uint64_t end() const { return offset + length; }
  };

  /// Lays an empty ring out over `memory` (at least kMinBytes, all zero).
  static BufferRing format(std::span<std::byte> memory, const Uuid& id);
  /// Takes over what an earlier process left. `where` is for messages; offsets are checked against
  /// `device_bytes`. Errors: damaged (another ring's, or foreign bytes), unsupported.
  static Result<BufferRing> parse(std::span<std::byte> memory, const Uuid& id,
                                  uint64_t device_bytes, const std::string& where);

  uint64_t max_write_bytes() const { return uint64_t{data_blocks_} * kBlockBytes / 4; }
  uint64_t data_bytes() const { return uint64_t{data_blocks_} * kBlockBytes; }
  uint64_t used_bytes() const { return uint64_t{used_blocks_} * kBlockBytes; }

  /// Writes from the oldest that counts up to, not including, end_seq().
  uint64_t first_seq() const { return first_seq_; }
  uint64_t end_seq() const { return end_seq_; }
  bool empty() const { return first_seq_ == end_seq_; }
  /// True if the device has every write below `seq`.
  bool written_up_to(uint64_t seq) const;
  Write& at(uint64_t seq) { return writes_[seq % writes_.size()]; }
  const Write& at(uint64_t seq) const { return writes_[seq % writes_.size()]; }
  std::span<std::byte> data(const Write& write) const {
    return data_.subspan(size_t{write.data_block} * kBlockBytes, write.length);
  }

  /// Copies a write in and publishes it; false if there is no room. `request` is a write of at most
  /// max_write_bytes().
  bool add(const IoRequest& request);
  /// The device has it.
  void set_done(uint64_t seq);
  void pin(uint64_t seq) { ++at(seq).pins; }
  void unpin(uint64_t seq);

  /// Could a write here overlap the range? Cheap; may say yes for no.
  bool may_overlap(uint64_t offset, uint64_t length) const;
  /// The newest write the device lacks that overlaps the range; 0 if none.
  uint64_t newest_overlap(uint64_t offset, uint64_t length) const;

 private:
  /// may_overlap() counts by stretches of the device of this size.
  static constexpr uint64_t kStretchBytes = 4u << 20;
  static constexpr size_t kStretches = 1024;

  BufferRing() = default;
  void lay_out(std::span<std::byte> memory, uint32_t slot_count, uint32_t data_blocks);
  bool allocate(uint32_t blocks, Write& write);
  void count_stretches(const Write& write, int change);
  void free_front();

  std::span<BufferSlot> slots_;
  std::span<std::byte> data_;
  std::vector<Write> writes_;  // by seq modulo its size, which is that of slots_
  uint32_t data_blocks_ = 0;
  uint32_t head_block_ = 0;  // where the next write's data goes
  uint32_t used_blocks_ = 0;
  uint64_t first_seq_ = 1;
  uint64_t end_seq_ = 1;
  std::array<uint32_t, kStretches> stretches_{};
};

/// The part of `write`'s data that the request's range covers is copied into the request's memory.
void copy_overlap(const BufferRing& ring, const BufferRing::Write& write, const IoRequest& request);

}  // namespace latte
