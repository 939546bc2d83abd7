// VolumeTable: which volume has which extent of a volume area, on the device and in memory.
//
// A change is a batch: first all that was given up becomes durable, then extents are chosen, zeroed
// where their contents are not known to be zero, and entered. Requests that come meanwhile make up
// the next batch, so many writers that need space share the writes of the table.
//
// Invariants:
//  1. Each block of the table has two copies. A change goes to the one that is not the newest and
//  is
//     durable before anything relies on it; then the other copy is brought up to it. So a torn or
//     damaged copy loses nothing.
//  2. An extent is entered for a volume only after it is durably zero, and nothing is written to it
//     before its entry is durable. FreeKind::zeroes stands only where nobody wrote since.
//  3. An extent is free for somebody else only after the entry that gives it up is durable, and the
//     last request under way to it (pins) has ended.
//  4. Before an allocation is written, every earlier change is durable, those that failed at first
//     included: so no part of a volume is entered twice.
// Thread rule: one reactor. Memory: 12 bytes an extent, 5 more while it is free.
// Limits: kRunBlocks blocks a write, kZeroBytes a zeroing.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/intrusive_list.h"
#include "base/result.h"
#include "base/zeroed_array.h"
#include "disk/volume_format.h"
#include "runtime/block_device.h"
#include "runtime/sync.h"
#include "runtime/task.h"

namespace latte {

class VolumeTable {
 public:
  /// `area_offset`: where the area starts on `device`, which outlives the table.
  VolumeTable(Reactor& reactor, BlockDevice& device, uint64_t area_offset,
              volume::Geometry geometry, const Uuid& space_id);

  /// Writes a table in which every extent is free.
  static Task<IoStatus> format(BlockDevice& device, uint64_t area_offset, volume::Geometry geometry,
                               Uuid space_id, volume::FreeKind kind);

  /// Reads the table. What can't be read or has no valid copy is in lost_blocks().
  Task<void> load();
  const std::vector<uint32_t>& lost_blocks() const { return lost_blocks_; }
  /// Blocks of which one copy was missing, bad or behind when they were loaded.
  uint64_t uneven_blocks() const { return uneven_blocks_; }
  /// After load(): gives up what belongs to nobody: entries for which `owned` is false. Durable
  /// with the next batch. Returns how many there were.
  template <typename Owned>
  uint64_t sweep(const Owned& owned);
  /// Makes durable what was read, brings the copies up to each other, and writes what sweep()
  /// changed. Not for a device that is only looked at.
  Task<IoStatus> settle();

  /// False: in a lost block; nobody knows whose it is.
  bool known(uint32_t extent) const { return blocks_[block_of(extent)].known; }
  volume::Entry entry(uint32_t extent) const { return entries_[extent]; }
  const volume::Geometry& geometry() const { return geometry_; }
  /// On the device.
  uint64_t device_offset(uint32_t extent) const {
    return area_offset_ + geometry_.extent_offset(extent);
  }
  uint64_t free_extents() const { return zeroed_.size() + unknown_.size(); }
  /// Bytes written to the device for the table and for zeroing.
  uint64_t written_bytes() const { return written_bytes_; }

  /// Gives `wanted.size()` extents to the parts `wanted` of the volume `serial`; `out` gets them,
  /// in that order. All or nothing; durable on return. Errors: no_space, io_error.
  Task<IoStatus> allocate(uint32_t serial, std::span<const uint32_t> wanted,
                          std::span<uint32_t> out);
  /// Gives extents back; durable on return. After an error they are given back all the same, but a
  /// crash may bring them back; they are not given away before that is settled.
  Task<IoStatus> release(std::span<const uint32_t> extents);

  /// A request is under way to `count` extents from `first` on.
  void pin(uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) ++pins_[first + i];
  }
  void unpin(uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      LATTE_CHECK(pins_[first + i] > 0);
      if (--pins_[first + i] == 0 && waiting_for_pins_ > 0) idle(first + i);
    }
  }

  /// Returns when no batch is under way.
  Task<void> quiesce();

 private:
  struct Block {
    uint64_t counter = 0;
    uint8_t newest = 0;  // which copy is durable and up to date
    bool known = false;
    bool even = false;  // the other copy is, too
    bool dirty = false;
  };
  /// One call of allocate() or release(), in its frame.
  struct Change : ListNode {
    uint32_t serial = 0;  // 0: release
    std::span<const uint32_t> list;
    std::span<uint32_t> out;
    IoStatus status = IoStatus::ok;
    bool done = false;
  };

  static uint32_t block_of(uint32_t extent) {
    return extent / static_cast<uint32_t>(volume::kTableEntries);
  }
  void load_block(uint32_t index, std::span<const std::byte> first, bool first_read,
                  std::span<const std::byte> second, bool second_read);
  void set(uint32_t extent, volume::Entry entry);
  void fill(uint32_t index, volume::TableBlock& out) const;
  Task<IoStatus> run(Change& change);
  Task<void> run_batches();
  Task<void> run_batch(IntrusiveList<Change>& batch);
  void apply_releases(IntrusiveList<Change>& batch);
  void choose(IntrusiveList<Change>& batch, std::vector<uint32_t>& to_zero);
  void give_up(Change& change, IoStatus status);
  void finish(Change& change, IoStatus status);
  void free_limbo();
  void idle(uint32_t extent);
  Task<IoStatus> zero(std::vector<uint32_t>& extents);
  Task<IoStatus> write_dirty();
  Task<void> even_copies();
  Task<IoStatus> write_run(std::span<const uint32_t> run, unsigned copy, bool next);

  Reactor& reactor_;
  BlockDevice& device_;
  const uint64_t area_offset_;
  const volume::Geometry geometry_;
  const Uuid space_id_;
  ZeroedArray<volume::Entry> entries_;  // as they are to be; dirty blocks are not durable yet
  ZeroedArray<uint32_t> pins_;
  std::vector<Block> blocks_;
  std::vector<uint32_t> dirty_;   // blocks
  std::vector<uint32_t> uneven_;  // blocks
  std::vector<uint32_t> lost_blocks_;
  uint64_t uneven_blocks_ = 0;
  std::deque<uint32_t> zeroed_;   // free, FreeKind::zeroes
  std::deque<uint32_t> unknown_;  // free, FreeKind::unknown
  std::vector<uint32_t> limbo_;   // given up, not durably yet
  std::vector<bool> leaving_;     // given up durably, free when its last pin is gone
  uint64_t waiting_for_pins_ = 0;
  IntrusiveList<Change> changes_;
  bool running_ = false;
  bool full_said_ = false;
  WaitQueue changed_;
  uint64_t written_bytes_ = 0;
};

template <typename Owned>
uint64_t VolumeTable::sweep(const Owned& owned) {
  uint64_t orphans = 0;
  for (uint32_t extent = 0; extent < geometry_.extent_count; ++extent) {
    if (!known(extent)) continue;
    const volume::Entry entry = entries_[extent];
    if (entry == volume::free_entry(volume::FreeKind::zeroes)) {
      zeroed_.push_back(extent);
    } else if (entry == volume::free_entry(volume::FreeKind::unknown)) {
      unknown_.push_back(extent);
    } else if (entry.serial == 0 || !owned(extent, entry)) {
      ++orphans;
      set(extent, volume::free_entry(volume::FreeKind::unknown));
      limbo_.push_back(extent);
    }
  }
  return orphans;
}

}  // namespace latte
