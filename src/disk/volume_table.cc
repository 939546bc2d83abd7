#include "disk/volume_table.h"

#include <fmt/format.h>
#include "base/logging.h"

#include <algorithm>
#include <cstring>

#include "base/buffer.h"

namespace latte {
namespace {

using volume::Entry;
using volume::FreeKind;
using volume::kTableEntries;
using volume::TableBlock;

/// Blocks of the table that one request moves: 1 MiB.
constexpr uint64_t kRunBlocks = 256;

}  // namespace

VolumeTable::VolumeTable(Reactor& reactor, BlockDevice& device, uint64_t area_offset,
                         volume::Geometry geometry, const Uuid& space_id)
    : reactor_(reactor),
      device_(device),
      area_offset_(area_offset),
      geometry_(geometry),
      space_id_(space_id),
      entries_(geometry.extent_count),
      pins_(geometry.extent_count),
      blocks_(geometry.table_blocks()),
      leaving_(geometry.extent_count),
      changed_(reactor) {}

Task<IoStatus> VolumeTable::format(BlockDevice& device, uint64_t area_offset,
                                   volume::Geometry geometry, Uuid space_id, FreeKind kind) {
  TableBlock block{};
  block.space_id = space_id;
  block.counter = 1;
  block.entries.fill(volume::free_entry(kind));
  Buffer run(kRunBlocks * kBlockBytes);
  for (unsigned copy = 0; copy < 2; ++copy) {
    for (uint64_t first = 0; first < geometry.table_blocks(); first += kRunBlocks) {
      const uint64_t count = std::min(kRunBlocks, geometry.table_blocks() - first);
      for (uint64_t i = 0; i < count; ++i) {
        block.index = first + i;
        seal(block);
        std::memcpy(run.data() + i * kBlockBytes, &block, sizeof(block));
      }
      const uint64_t offset = area_offset + geometry.table_offset(copy) + first * kBlockBytes;
      const IoStatus status = co_await device.write(offset, run.span().first(count * kBlockBytes));
      if (status != IoStatus::ok) co_return status;
    }
  }
  co_return co_await device.flush();
}

Task<void> VolumeTable::load() {
  Buffer first(kRunBlocks * kBlockBytes);
  Buffer second(kRunBlocks * kBlockBytes);
  for (uint64_t at = 0; at < blocks_.size(); at += kRunBlocks) {
    const uint64_t count = std::min<uint64_t>(kRunBlocks, blocks_.size() - at);
    const uint64_t bytes = count * kBlockBytes;
    const uint64_t offset = area_offset_ + at * kBlockBytes;
    const IoStatus one =
        co_await device_.read(offset + geometry_.table_offset(0), first.span().first(bytes));
    const IoStatus two =
        co_await device_.read(offset + geometry_.table_offset(1), second.span().first(bytes));
    for (uint64_t i = 0; i < count; ++i)
      load_block(static_cast<uint32_t>(at + i), first.span().subspan(i * kBlockBytes, kBlockBytes),
                 one == IoStatus::ok, second.span().subspan(i * kBlockBytes, kBlockBytes),
                 two == IoStatus::ok);
  }
}

void VolumeTable::load_block(uint32_t index, std::span<const std::byte> first, bool first_read,
                             std::span<const std::byte> second, bool second_read) {
  TableBlock copies[2];
  const bool good[2] = {
      first_read && volume::parse_table_block(first, space_id_, index, copies[0]),
      second_read && volume::parse_table_block(second, space_id_, index, copies[1])};
  Block& block = blocks_[index];
  if (!good[0] && !good[1]) {
    lost_blocks_.push_back(index);
    return;
  }
  const bool second_newer = good[1] && (!good[0] || copies[1].counter > copies[0].counter);
  block.known = true;
  block.newest = second_newer ? 1 : 0;
  const TableBlock& newest = copies[block.newest];
  block.counter = newest.counter;
  block.even = good[0] && good[1] && copies[0].counter == copies[1].counter;
  if (!block.even) {
    ++uneven_blocks_;
    uneven_.push_back(index);
  }
  const uint64_t from = uint64_t{index} * kTableEntries;
  const uint64_t count = std::min<uint64_t>(kTableEntries, geometry_.extent_count - from);
  for (uint64_t i = 0; i < count; ++i) entries_[from + i] = newest.entries[i];
}

Task<IoStatus> VolumeTable::settle() {
  // A process that died may have left the newest copy in a volatile cache.
  IoStatus status = co_await device_.flush();
  if (status != IoStatus::ok) co_return status;
  co_await even_copies();
  status = co_await write_dirty();
  if (status != IoStatus::ok) co_return status;
  free_limbo();
  co_await even_copies();
  co_return status;
}

void VolumeTable::set(uint32_t extent, Entry entry) {
  entries_[extent] = entry;
  Block& block = blocks_[block_of(extent)];
  LATTE_CHECK(block.known);
  if (block.dirty) return;
  block.dirty = true;
  dirty_.push_back(block_of(extent));
}

void VolumeTable::fill(uint32_t index, TableBlock& out) const {
  out = TableBlock{};
  out.space_id = space_id_;
  out.index = index;
  const uint64_t from = uint64_t{index} * kTableEntries;
  const uint64_t count = std::min<uint64_t>(kTableEntries, geometry_.extent_count - from);
  for (uint64_t i = 0; i < count; ++i) out.entries[i] = entries_[from + i];
}

/// Writes a run of neighbouring blocks to one copy: as they are to be next, or as they are.
Task<IoStatus> VolumeTable::write_run(std::span<const uint32_t> run, unsigned copy, bool next) {
  Buffer bytes(run.size() * kBlockBytes);
  for (size_t i = 0; i < run.size(); ++i) {
    TableBlock block;
    fill(run[i], block);
    block.counter = blocks_[run[i]].counter + (next ? 1 : 0);
    seal(block);
    std::memcpy(bytes.data() + i * kBlockBytes, &block, sizeof(block));
  }
  const uint64_t offset =
      area_offset_ + geometry_.table_offset(copy) + uint64_t{run.front()} * kBlockBytes;
  written_bytes_ += bytes.size();
  co_return co_await device_.write(offset, bytes.span(), device_.info().can_fua);
}

/// Makes every dirty block durable in the copy that is not its newest.
Task<IoStatus> VolumeTable::write_dirty() {
  if (dirty_.empty()) co_return IoStatus::ok;
  std::sort(dirty_.begin(), dirty_.end());
  const auto target = [&](uint32_t index) { return 1u - blocks_[index].newest; };
  for (size_t at = 0; at < dirty_.size();) {
    size_t end = at + 1;
    while (end < dirty_.size() && end - at < kRunBlocks && dirty_[end] == dirty_[end - 1] + 1 &&
           target(dirty_[end]) == target(dirty_[at]))
      ++end;
    const std::span<const uint32_t> run(dirty_.data() + at, end - at);
    const IoStatus status = co_await write_run(run, target(run.front()), true);
    if (status != IoStatus::ok) co_return status;
    at = end;
  }
  if (!device_.info().can_fua) {
    const IoStatus status = co_await device_.flush();
    if (status != IoStatus::ok) co_return status;
  }
  for (const uint32_t index : dirty_) {
    Block& block = blocks_[index];
    block.newest = static_cast<uint8_t>(1 - block.newest);
    ++block.counter;
    block.dirty = false;
    if (block.even) uneven_.push_back(index);
    block.even = false;
  }
  dirty_.clear();
  co_return IoStatus::ok;
}

/// Brings the other copies up to the newest. One that can't be written is the next to be written
/// to.
Task<void> VolumeTable::even_copies() {
  std::vector<uint32_t> uneven = std::move(uneven_);
  uneven_.clear();
  std::sort(uneven.begin(), uneven.end());
  const auto target = [&](uint32_t index) { return 1u - blocks_[index].newest; };
  bool failed = false;
  for (size_t at = 0; at < uneven.size();) {
    size_t end = at + 1;
    while (end < uneven.size() && end - at < kRunBlocks && uneven[end] == uneven[end - 1] + 1 &&
           target(uneven[end]) == target(uneven[at]))
      ++end;
    // What is dirty differs from what is durable: it is evened when it is written.
    const std::span<const uint32_t> run(uneven.data() + at, end - at);
    const bool dirty =
        std::any_of(run.begin(), run.end(), [&](uint32_t index) { return blocks_[index].dirty; });
    IoStatus status = IoStatus::ok;
    if (!dirty) status = co_await write_run(run, target(run.front()), false);
    if (!dirty && status == IoStatus::ok && !device_.info().can_fua)
      status = co_await device_.flush();
    const bool even = !dirty && status == IoStatus::ok;
    failed |= status != IoStatus::ok;
    for (const uint32_t index : run) {
      blocks_[index].even = even;
      if (!even) uneven_.push_back(index);
    }
    at = end;
  }
  if (failed)
    log_warning("{}: the second copy of the volume table can't be written; the first one is in use",
                device_.info().name);
}

}  // namespace latte
