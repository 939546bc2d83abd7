#include "device/buffer_ring.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/planted.h"

namespace latte {
namespace {

bool overlap(const BufferRing::Write& write, uint64_t offset, uint64_t length) {
  return write.offset < offset + length && offset < write.end();
}

uint32_t blocks_of(uint64_t bytes) {
  return static_cast<uint32_t>(round_up(bytes, kBlockBytes) / kBlockBytes);
}

bool valid_slot(const BufferSlot& slot, uint32_t data_blocks, uint64_t device_bytes) {
  return slot.crc == struct_crc(slot) && slot.length > 0 && slot.length % kSectorBytes == 0 &&
         slot.offset % kSectorBytes == 0 && range_within(slot.offset, slot.length, device_bytes) &&
         range_within(slot.data_block, blocks_of(slot.length), data_blocks);
}

Error foreign(const std::string& where, const char* what) {
  return Error{Errc::damaged,
               fmt::format("{}: {}: it does not hold what a write buffer left there", where, what)};
}

}  // namespace

void BufferRing::lay_out(std::span<std::byte> memory, uint32_t slot_count, uint32_t data_blocks) {
  auto* slots = reinterpret_cast<BufferSlot*>(memory.data() + kBlockBytes);
  slots_ = {slots, slot_count};
  data_ = memory.last(size_t{data_blocks} * kBlockBytes);
  data_blocks_ = data_blocks;
  writes_.resize(slot_count);
}

BufferRing BufferRing::format(std::span<std::byte> memory, const Uuid& id) {
  LATTE_CHECK(memory.size() >= kMinBytes);
  LATTE_CHECK(reinterpret_cast<uintptr_t>(memory.data()) % kBlockBytes == 0);
  const auto slot_count = static_cast<uint32_t>(memory.size() / kBytesPerSlot);
  const uint64_t head = kBlockBytes + round_up(slot_count * sizeof(BufferSlot), kBlockBytes);
  BufferMemoryHeader header{};
  header.magic = kBufferMemoryMagic;
  header.version = kWriteBufferVersion;
  header.buffer_id = id;
  header.slot_count = slot_count;
  header.data_blocks = static_cast<uint32_t>((memory.size() - head) / kBlockBytes);
  header.crc = struct_crc(header);
  std::memcpy(memory.data(), &header, sizeof(header));
  BufferRing ring;
  ring.lay_out(memory.first(head + uint64_t{header.data_blocks} * kBlockBytes), slot_count,
               header.data_blocks);
  return ring;
}

Result<BufferRing> BufferRing::parse(std::span<std::byte> memory, const Uuid& id,
                                     uint64_t device_bytes, const std::string& where) {
  if (memory.size() < kMinBytes) return foreign(where, "too small");
  BufferMemoryHeader header;
  std::memcpy(&header, memory.data(), sizeof(header));
  if (header.magic != kBufferMemoryMagic || header.crc != struct_crc(header))
    return foreign(where, "bad header");
  if (header.version != kWriteBufferVersion)
    return Error{Errc::unsupported,
                 fmt::format("{}: version {} of the write buffer, this build knows {}; start the "
                             "build that wrote it once, and stop it",
                             where, header.version, kWriteBufferVersion)};
  const uint64_t head =
      kBlockBytes + round_up(uint64_t{header.slot_count} * sizeof(BufferSlot), kBlockBytes);
  const uint64_t total = head + uint64_t{header.data_blocks} * kBlockBytes;
  if (header.buffer_id != id || header.slot_count == 0 || total > memory.size())
    return foreign(where, "of another buffer");
  BufferRing ring;
  ring.lay_out(memory.first(total), header.slot_count, header.data_blocks);
  std::vector<BufferSlot> found;
  for (const BufferSlot& slot : ring.slots_) {
    if (slot.seq == 0) continue;
    if (!valid_slot(slot, header.data_blocks, device_bytes) ||
        &ring.slots_[slot.seq % ring.slots_.size()] != &slot)
      return foreign(where, "bad slot");
    found.push_back(slot);
  }
  if (found.empty()) return ring;
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.seq < b.seq; });
  if (found.back().seq - found.front().seq >= ring.slots_.size())
    return foreign(where, "slots of two lives");
  ring.first_seq_ = found.front().seq;
  ring.end_seq_ = found.back().seq + 1;
  for (const BufferSlot& slot : found) {
    Write& write = ring.at(slot.seq);
    write = Write{Write::State::waiting, 0, slot.data_block, 0, slot.offset, slot.length};
    ring.count_stretches(write, 1);
  }
  return ring;
}

bool BufferRing::written_up_to(uint64_t seq) const {
  for (uint64_t s = first_seq_; s < std::min(seq, end_seq_); ++s)
    if (at(s).state != Write::State::done) return false;
  return true;
}

bool BufferRing::allocate(uint32_t blocks, Write& write) {
  if (used_blocks_ == 0) head_block_ = 0;
  // Data lies in one piece: what is left at the end may be too short, and is passed over.
  const uint32_t to_end = data_blocks_ - head_block_;
  const uint32_t skipped = blocks <= to_end ? 0 : to_end;
  if (used_blocks_ + skipped + blocks > data_blocks_) return false;
  write.data_block = skipped == 0 ? head_block_ : 0;
  write.span_blocks = skipped + blocks;
  used_blocks_ += write.span_blocks;
  head_block_ = (write.data_block + blocks) % data_blocks_;
  return true;
}

bool BufferRing::add(const IoRequest& request) {
  LATTE_CHECK(request.op == IoOp::write && request.length <= max_write_bytes());
  if (end_seq_ - first_seq_ >= writes_.size()) return false;
  Write write{Write::State::waiting, 0, 0, 0, request.offset, request.length};
  if (!allocate(blocks_of(request.length), write)) return false;
  std::byte* to = data(write).data();
  for (uint32_t i = 0; i < request.iov_count; ++i) {
    std::memcpy(to, request.iov[i].iov_base, request.iov[i].iov_len);
    to += request.iov[i].iov_len;
  }
  const uint64_t seq = end_seq_++;
  at(seq) = write;
  BufferSlot slot{};
  slot.seq = seq;
  slot.offset = write.offset;
  slot.length = static_cast<uint32_t>(write.length);
  slot.data_block = write.data_block;
  slot.crc = struct_crc(slot);
  slot.seq = 0;
  BufferSlot& place = slots_[seq % slots_.size()];
  LATTE_CHECK(place.seq == 0);
  std::memcpy(&place, &slot, sizeof(slot));
  std::atomic_ref(place.seq).store(seq, std::memory_order_release);
  count_stretches(write, 1);
  return true;
}

void BufferRing::set_done(uint64_t seq) {
  Write& write = at(seq);
  LATTE_CHECK(seq >= first_seq_ && seq < end_seq_ && write.state != Write::State::done);
  write.state = Write::State::done;
  std::atomic_ref(slots_[seq % slots_.size()].seq).store(0, std::memory_order_release);
  count_stretches(write, -1);
  free_front();
}

void BufferRing::unpin(uint64_t seq) {
  LATTE_CHECK(at(seq).pins > 0);
  --at(seq).pins;
  free_front();
}

void BufferRing::free_front() {
  while (first_seq_ < end_seq_ && at(first_seq_).state == Write::State::done &&
         at(first_seq_).pins == 0) {
    used_blocks_ -= at(first_seq_).span_blocks;
    ++first_seq_;
  }
}

void BufferRing::count_stretches(const Write& write, int change) {
  for (uint64_t s = write.offset / kStretchBytes; s <= (write.end() - 1) / kStretchBytes; ++s)
    stretches_[s % kStretches] += static_cast<uint32_t>(change);
}

bool BufferRing::may_overlap(uint64_t offset, uint64_t length) const {
  if (length == 0 || empty()) return false;
  const uint64_t first = offset / kStretchBytes;
  const uint64_t last = (offset + length - 1) / kStretchBytes;
  if (last - first >= kStretches) return true;
  for (uint64_t s = first; s <= last; ++s)
    if (stretches_[s % kStretches] != 0) return true;
  return false;
}

uint64_t BufferRing::newest_overlap(uint64_t offset, uint64_t length) const {
  if (planted(Planted::stale_buffer_read) || !may_overlap(offset, length)) return 0;
  for (uint64_t s = end_seq_; s-- > first_seq_;)
    if (at(s).state != Write::State::done && overlap(at(s), offset, length)) return s;
  return 0;
}

void copy_overlap(const BufferRing& ring, const BufferRing::Write& write,
                  const IoRequest& request) {
  const std::span<const std::byte> data = ring.data(write);
  uint64_t at = request.offset;
  for (uint32_t i = 0; i < request.iov_count; ++i) {
    const iovec& part = request.iov[i];
    const uint64_t from = std::max(at, write.offset);
    const uint64_t to = std::min(at + part.iov_len, write.end());
    if (from < to)
      std::memcpy(static_cast<std::byte*>(part.iov_base) + (from - at),
                  data.data() + (from - write.offset), to - from);
    at += part.iov_len;
  }
}

}  // namespace latte
