#include "log/segment_space.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/buffer.h"
#include "base/crc32c.h"

namespace latte::log {
namespace {

// Room for the superblocks and the notes, aligned for any device.
constexpr uint64_t kFirstSegmentOffset = 64u << 10;
static_assert(kNotesOffset + kNotesBytes <= kFirstSegmentOffset && kNotesBytes == 2 * kBlockBytes);

SpaceSuper newest_of(const Result<SpaceSuper>& a, const Result<SpaceSuper>& b) {
  if (!a) return b.value();
  if (!b) return a.value();
  return a.value().counter >= b.value().counter ? a.value() : b.value();
}

}  // namespace

Task<Result<void>> SegmentSpace::format(BlockDevice& device, Options options) {
  const uint64_t size = options.size_bytes != 0 ? options.size_bytes : device.info().size_bytes;
  LATTE_CHECK(size <= device.info().size_bytes);
  if (options.segment_bytes < kMinSegmentBytes || options.segment_bytes > kMaxSegmentBytes ||
      !std::has_single_bit(options.segment_bytes))
    co_return Error{
        Errc::invalid,
        fmt::format("{}: segment size {} is not a power of two from {} to {}", device.info().name,
                    options.segment_bytes, kMinSegmentBytes, kMaxSegmentBytes)};
  const uint64_t room = size > kFirstSegmentOffset ? size - kFirstSegmentOffset : 0;
  const uint64_t count = std::min<uint64_t>(room / options.segment_bytes, (1ull << 32) - 1);
  if (count < 2)
    co_return Error{Errc::invalid,
                    fmt::format("{}: {} bytes are too few for two segments of {} bytes; make it at "
                                "least {} bytes",
                                device.info().name, size, options.segment_bytes,
                                kFirstSegmentOffset + 2ull * options.segment_bytes)};
  Buffer block(2 * kBlockBytes);
  std::memset(block.data(), 0, block.size());
  // What others noted there was about what was here before.
  IoStatus status = co_await device.write(kNotesOffset, block.span());
  if (status == IoStatus::ok) status = co_await device.flush();
  SpaceSuper super{};
  super.kind = options.kind;
  super.segment_bytes = static_cast<uint32_t>(options.segment_bytes);
  super.segment_count = count;
  super.first_segment_offset = kFirstSegmentOffset;
  super.counter = 1;
  super.space_id = options.space_id;
  seal(super);
  // Both copies at once: a space is new only while neither is valid.
  std::memcpy(block.data(), &super, sizeof(super));
  std::memcpy(block.data() + kBlockBytes, &super, sizeof(super));
  if (status == IoStatus::ok) status = co_await device.write(0, block.span());
  if (status == IoStatus::ok) status = co_await device.flush();
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("{}: writing the superblock failed: {}",
                                          device.info().name, to_string(status))};
  co_return Result<void>();
}

Task<Result<std::unique_ptr<SegmentSpace>>> SegmentSpace::open(Reactor& reactor,
                                                               BlockDevice& device, SpaceKind kind,
                                                               bool keep_seqs) {
  const std::string& name = device.info().name;
  Buffer blocks(2 * kBlockBytes);
  const IoStatus status = co_await device.read(0, blocks.span());
  if (status != IoStatus::ok)
    co_return Error{Errc::io,
                    fmt::format("{}: reading the superblock failed: {}", name, to_string(status))};
  const auto first = parse_space_super(blocks.span().first(kBlockBytes), name);
  const auto second = parse_space_super(blocks.span().last(kBlockBytes), name);
  if (!first && !second) {
    // One copy damaged and the other of another version: the version is the better advice.
    const bool other = second.error().code == Errc::unsupported;
    co_return other ? second.error() : first.error();
  }
  const SpaceSuper super = newest_of(first, second);
  if (super.kind != kind)
    co_return Error{Errc::invalid, fmt::format("{}: holds a {}, not a {}", name,
                                               super.kind == SpaceKind::pool ? "pool" : "cloud log",
                                               kind == SpaceKind::pool ? "pool" : "cloud log")};
  const uint64_t needed = super.first_segment_offset + super.segment_count * super.segment_bytes;
  if (device.info().size_bytes < needed)
    co_return Error{Errc::damaged,
                    fmt::format("{}: cut short: {} bytes, but its superblock says {}; restore its "
                                "size, or take the disks over from the cloud with a new one",
                                name, device.info().size_bytes, needed)};
  co_return std::unique_ptr<SegmentSpace>(new SegmentSpace(reactor, device, super, keep_seqs));
}

Task<Result<void>> SegmentSpace::settle() {
  const IoStatus status = co_await device_.flush();
  if (status == IoStatus::ok) co_return Result<void>();
  co_return Error{
      status == IoStatus::fenced ? Errc::not_owner : Errc::io,
      fmt::format("{}: flush at the start failed: {}", device_.info().name, to_string(status))};
}

SegmentSpace::SegmentSpace(Reactor& reactor, BlockDevice& device, const SpaceSuper& super,
                           bool keep_seqs)
    : reactor_(reactor),
      device_(device),
      super_(super),
      segment_blocks_(super.segment_bytes / kBlockBytes),
      segments_(super.segment_count),
      free_count_(super.segment_count),
      crcs_(super.segment_count * segment_blocks_),
      marks_(super.segment_count * segment_blocks_),
      seqs_(keep_seqs ? super.segment_count * segment_blocks_ : 0),
      freed_(reactor),
      super_written_(reactor) {
  for (uint64_t i = 0; i < super.segment_count; ++i) free_.push_back(static_cast<uint32_t>(i));
}

uint64_t SegmentSpace::memory_bytes() const {
  const uint64_t per_block =
      sizeof(uint32_t) + sizeof(uint8_t) + (seqs_.size() > 0 ? sizeof(uint64_t) : 0);
  const uint64_t used = segments_.size() - free_count_;
  return used * segment_blocks_ * per_block + segments_.size() * (sizeof(Segment) + 4);
}

StreamSlot* SegmentSpace::find_stream(const Uuid& disk_id) {
  for (StreamSlot& slot : super_.streams)
    if (!disk_id.is_nil() && slot.disk_id == disk_id) return &slot;
  return nullptr;
}

StreamSlot* SegmentSpace::find_stream_by_name(std::string_view name) {
  for (StreamSlot& slot : super_.streams)
    if (!slot.disk_id.is_nil() && name == slot.name) return &slot;
  return nullptr;
}

StreamSlot* SegmentSpace::free_slot() {
  for (StreamSlot& slot : super_.streams)
    if (slot.disk_id.is_nil()) return &slot;
  return nullptr;
}

Task<IoStatus> SegmentSpace::write_super() {
  const uint64_t wanted = ++super_wanted_;
  while (super_writing_ && super_done_ < wanted) co_await super_written_.wait();
  if (super_done_ >= wanted) co_return super_status_;
  super_writing_ = true;
  const uint64_t covers = super_wanted_;
  ++super_.counter;
  Buffer block(kBlockBytes);
  seal(super_);
  std::memcpy(block.data(), &super_, sizeof(super_));
  const uint64_t offset = super_.counter % 2 * kBlockBytes;
  IoStatus status = co_await device_.write(offset, block.span());
  if (status == IoStatus::ok) status = co_await device_.flush();
  super_writing_ = false;
  super_done_ = covers;
  super_status_ = status;
  super_written_.notify_all();
  co_return status;
}

bool SegmentSpace::allocate(uint32_t& segment) {
  while (!free_.empty()) {
    segment = free_.front();
    free_.pop_front();
    if (!segments_[segment].free) continue;
    LATTE_CHECK(segments_[segment].pins == 0 && free_count_ > 0);
    segments_[segment].free = false;
    --free_count_;
    return true;
  }
  return false;
}

void SegmentSpace::claim(uint32_t segment) {
  LATTE_CHECK(segments_[segment].free && free_count_ > 0);
  segments_[segment].free = false;
  --free_count_;
}

void SegmentSpace::release(uint32_t segment) {
  Segment& state = segments_[segment];
  LATTE_CHECK(!state.free && !state.releasing);
  state.releasing = true;
  if (state.pins == 0) make_free(segment);
}

void SegmentSpace::unpin(uint32_t segment) {
  Segment& state = segments_[segment];
  LATTE_CHECK(state.pins > 0);
  if (--state.pins == 0 && state.releasing) make_free(segment);
}

void SegmentSpace::make_free(uint32_t segment) {
  segments_[segment].free = true;
  segments_[segment].releasing = false;
  free_.push_back(segment);
  ++free_count_;
  freed_.notify_all();
}

bool SegmentSpace::verify(BlockAddress a, std::span<const std::byte> data, uint32_t* bad) const {
  for (size_t i = 0; i * kBlockBytes < data.size(); ++i) {
    if (crc32c(data.subspan(i * kBlockBytes, kBlockBytes)) == crcs_[a + i]) continue;
    if (bad != nullptr) *bad = static_cast<uint32_t>(i);
    return false;
  }
  return true;
}

}  // namespace latte::log
