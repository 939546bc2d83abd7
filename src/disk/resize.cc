// HybridDisk, its size: larger or smaller while it is served.
//
// Two numbers. The *size* is what clients may reach. The *extent* is how far the disk has ever
// reached: logs and base may hold blocks up to there, and everything inside the engine goes by it.
// A smaller size leaves the extent as it is, so what is in the logs behind the new end stays sound;
// it is discarded like any other range. Both are in the superblock, whose swap is the moment at
// which the size changes; the generation stays.
//
// Invariants: 1. What a disk gains reads as zeroes: that is so for good, in cloud and pool, before
//                the superblock says the larger size.
//             2. No client's request is behind the new end when the superblock says the smaller
//                size.
// Limits: requests are held for kHoldAllNs at most, and only to shrink; kMostBytes.
#include <fmt/format.h>

#include <algorithm>

#include "base/all_zero.h"
#include "base/buffer.h"
#include "base/logging.h"
#include "disk/cloud_super.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

constexpr TimeNs kHoldAllNs = 10 * kSecond;
constexpr TimeNs kLookAgainNs = kMillisecond;
constexpr TimeNs kAskAgainNs = kSecond;
constexpr uint64_t kZeroPieceBytes = 1ull << 30;
constexpr uint64_t kReadPieceBytes = 1u << 20;

}  // namespace

Error HybridDisk::not_resized(Errc code, const std::string& why) const {
  return Error{code,
               fmt::format("disk {}: {}; it keeps its {} bytes", name(), why, info_.size_bytes)};
}

Task<Result<void>> HybridDisk::resize(uint64_t size_bytes, bool force) {
  if (size_bytes == 0 || size_bytes % kBlockBytes != 0 || size_bytes > log::kMaxDiskBytes)
    co_return not_resized(Errc::invalid,
                          fmt::format("a size of {} bytes is not possible: it must be a multiple "
                                      "of {}, above 0, at most {}",
                                      size_bytes, kBlockBytes, log::kMaxDiskBytes));
  if (state_ != State::online)
    co_return not_resized(Errc::invalid, "it is not online here: " + reason_);
  if (resizing_ || snapshotting_)
    co_return not_resized(
        Errc::busy, resizing_ ? "it is being resized already" : "a snapshot is being made of it");
  if (size_bytes == info_.size_bytes) co_return Result<void>();
  resizing_ = true;
  Result<void> done;
  if (size_bytes > info_.size_bytes)
    done = co_await grow(size_bytes);
  else
    done = co_await shrink(size_bytes, force);
  resizing_ = false;
  if (done) log_info("disk {}: has {} bytes now", name(), info_.size_bytes);
  co_return done;
}

Task<Result<void>> HybridDisk::grow(uint64_t size_bytes) {
  const uint64_t extent = block_count_ * kBlockBytes;
  if (info_.size_bytes < extent) {
    const IoStatus hidden = co_await zero_hidden(std::min(size_bytes, extent));
    if (hidden != IoStatus::ok)
      co_return not_resized(Errc::io, fmt::format("what it had behind its end can't be zeroed: {}",
                                                  to_string(hidden)));
  }
  if (size_bytes > extent) {
    const auto grown = co_await grow_extent(size_bytes);
    if (!grown) co_return not_resized(grown.error().code, grown.error().message);
  }
  const auto stored = co_await store_size(size_bytes);
  if (!stored) co_return stored;
  info_.size_bytes = size_bytes;
  co_return Result<void>();
}

/// Zeroes from the disk's end on to `end_bytes`, where it was smaller once; nobody else writes
/// there. In the cloud as well before the size says so: a host that takes over sees the zeroes.
Task<IoStatus> HybridDisk::zero_hidden(uint64_t end_bytes) {
  const Lba first(info_.size_bytes / kBlockBytes);
  const uint64_t count = end_bytes / kBlockBytes - first.value;
  IoStatus status = co_await write_blocks(first, count, nullptr, log::EntryKind::zero, false);
  if (status == IoStatus::ok) status = co_await flush_disk();
  if (status == IoStatus::ok) status = co_await wait_in_cloud(next_seq_ - 1);
  co_return status;
}

/// Makes room for more blocks than there ever were. Nothing of it is in a log; what a base image
/// that is larger than the disk may hold there is zeroed.
Task<Result<void>> HybridDisk::grow_extent(uint64_t size_bytes) {
  const uint64_t extent = block_count_ * kBlockBytes;
  const uint64_t there = std::min(cloud_.base().info().size_bytes, size_bytes);
  const auto grown = co_await cloud_.grow_base(size_bytes);
  if (!grown) co_return grown;
  LATTE_CHECK(cloud_.base().info().size_bytes >= size_bytes);
  IoStatus status = IoStatus::ok;
  for (uint64_t at = extent; at < there && status == IoStatus::ok; at += kZeroPieceBytes)
    status = co_await base_.write_zeroes(at, std::min(kZeroPieceBytes, there - at));
  if (status == IoStatus::ok) status = co_await base_.flush();
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("{}: zeroing what the base gains: {}", cloud_.name(),
                                          to_string(status))};
  block_count_ = size_bytes / kBlockBytes;
  local_index_.grow(block_count_);
  cloud_index_.grow(block_count_);
  co_return Result<void>();
}

Task<Result<void>> HybridDisk::shrink(uint64_t size_bytes, bool force) {
  const uint64_t before = info_.size_bytes;
  if (!force) {
    const auto unused = co_await expect_zeroes(size_bytes, before);
    if (!unused) co_return unused;
  }
  // Requests wait until nobody is behind the new end any more.
  state_ = State::resizing;
  overtake_fetches(Lba(0), UINT64_MAX);
  const TimeNs deadline_ns = reactor_.now() + kHoldAllNs;
  while (active_ > 0 && state_ == State::resizing && reactor_.now() < deadline_ns)
    co_await reactor_.sleep(kLookAgainNs);
  Result<void> done =
      not_resized(Errc::io, fmt::format("requests did not end within {} s", kHoldAllNs / kSecond));
  if (active_ == 0 && state_ == State::resizing && !force)
    done = co_await expect_zeroes(size_bytes, before);  // written to meanwhile
  else if (active_ == 0)
    done = Result<void>();
  if (done && state_ == State::resizing) done = co_await store_size(size_bytes);
  // Also where the cloud does not tell whether it took the smaller size: what clients wrote behind
  // the end now might be cut off by it later.
  if (super_.size_bytes == size_bytes || size_unknown_) info_.size_bytes = size_bytes;
  if (state_ == State::resizing) state_ = State::online;
  wake_all();
  if (!done) co_return done;
  // For the space only: whatever is there counts for nothing.
  const IoStatus freed =
      co_await write_blocks(Lba(size_bytes / kBlockBytes), (before - size_bytes) / kBlockBytes,
                            nullptr, log::EntryKind::zero, false);
  if (freed != IoStatus::ok)
    log_warning("disk {}: it is smaller; its space is freed when it is grown again: {}", name(),
                to_string(freed));
  co_return Result<void>();
}

/// Errors: invalid (something is in use between the two), io.
Task<Result<void>> HybridDisk::expect_zeroes(uint64_t from, uint64_t to) {
  Buffer piece(kReadPieceBytes);
  while (from < to) {
    Extent extent;
    LATTE_CHECK(extents(from, to - from, std::span(&extent, 1)) == 1 && extent.length > 0);
    const uint64_t length = std::min(extent.length, kReadPieceBytes);
    if (extent.zero) {
      from += extent.length;
      continue;
    }
    const auto bytes = piece.span().first(length);
    const IoStatus status = co_await read_blocks(Lba(from / kBlockBytes), bytes, Keep::no);
    if (status != IoStatus::ok)
      co_return not_resized(Errc::io, fmt::format("reading at {}: {}", from, to_string(status)));
    if (!all_zero(bytes))
      co_return not_resized(Errc::invalid,
                            fmt::format("there is data at {} and maybe behind; trim it (fstrim, "
                                        "blkdiscard), or --force to lose it",
                                        from));
    from += length;
  }
  co_return Result<void>();
}

/// Swaps the superblock for one of another size. If the cloud does not say whether it did,
/// size_unknown_ is set.
Task<Result<void>> HybridDisk::store_size(uint64_t size_bytes) {
  // A pool that fails swaps the superblock, too; each would undo what the other says.
  if (abandoning_ && !pool_abandoned_)
    co_return not_resized(Errc::busy, "its pool has failed and is being given up; try again");
  storing_size_ = true;
  const auto stored = co_await swap_size(size_bytes);
  storing_size_ = false;
  apply_work_.notify_all();
  co_return stored;
}

Task<Result<void>> HybridDisk::swap_size(uint64_t size_bytes) {
  log::CloudSuper next = super_;
  next.size_bytes = size_bytes;
  next.extent_bytes = block_count_ * kBlockBytes;
  const SuperBytes bytes = seal_to_bytes(next);
  const auto swapped = co_await cloud_.swap_super(super_.generation, super_.generation, bytes);
  CloudOwner owner;
  const TimeNs deadline_ns = reactor_.now() + kHoldAllNs;
  while (!swapped && !owner.answered && going_on() && reactor_.now() < deadline_ns) {
    owner = co_await read_owner(cloud_);
    if (!owner.answered) co_await reactor_.sleep(kAskAgainNs);
  }
  const bool ours =
      owner.super && owner.is(super_.owner_pool_id) && owner.super->generation == super_.generation;
  size_unknown_ = !swapped && !owner.answered;
  if (swapped || (ours && owner.super->size_bytes == size_bytes)) {
    super_ = next;
    co_return Result<void>();
  }
  if (owner.answered && !ours) on_cloud_status(IoStatus::fenced);
  if (!size_unknown_) co_return not_resized(swapped.error().code, swapped.error().message);
  co_return Error{Errc::io,
                  fmt::format("disk {}: {}; whether the new size counts is not known: run latte "
                              "resize again when the cloud answers",
                              name(), swapped.error().message)};
}

}  // namespace latte
