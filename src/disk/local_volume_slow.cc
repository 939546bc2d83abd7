// LocalVolume, what takes more than one request to the device: extents that are not neighbours, not
// there yet, or given back; zeroing; resizing.
#include <algorithm>
#include <cstring>

#include "disk/local_volume.h"

namespace latte {
namespace {

/// A write finds parts missing again that it had waited for only if somebody discards them
/// meanwhile; a client that goes on like that gets an error.
constexpr int kMaxRounds = 64;

/// The client's memory from `at` on, `length` bytes.
std::vector<iovec> slice(const IoRequest& request, uint64_t at, uint64_t length) {
  std::vector<iovec> out;
  for (uint32_t i = 0; i < request.iov_count && length > 0; ++i) {
    const iovec& part = request.iov[i];
    if (at >= part.iov_len) {
      at -= part.iov_len;
      continue;
    }
    const size_t bytes = std::min<uint64_t>(part.iov_len - at, length);
    out.push_back({static_cast<std::byte*>(part.iov_base) + at, bytes});
    at = 0;
    length -= bytes;
  }
  LATTE_CHECK(length == 0);
  return out;
}

}  // namespace

/// Keeps the extents of some pieces pinned.
struct LocalVolume::Pins {
  Pins(VolumeTable& owner, const std::vector<Piece>& pinned) : table(owner), pieces(pinned) {
    for (const Piece& piece : pieces) table.pin(piece.extent, piece.count);
  }
  ~Pins() {
    for (const Piece& piece : pieces) table.unpin(piece.extent, piece.count);
  }
  Pins(const Pins&) = delete;
  Pins& operator=(const Pins&) = delete;
  VolumeTable& table;
  const std::vector<Piece> pieces;
};

Task<void> LocalVolume::run_slow(IoRequest& request) {
  const TimeNs start_ns = reactor_.now();
  const bool transfer = request.op == IoOp::read || request.op == IoOp::write;
  if (transfer)
    request.status = co_await run_transfer(request);
  else
    request.status = co_await run_zero(request);
  stats_.count(request, reactor_.now() - start_ns);
  reactor_.schedule(request.waiter);
  end_request();
}

Task<IoStatus> LocalVolume::run_transfer(IoRequest& request) {
  if (request.length > info_.max_request_bytes) co_return IoStatus::invalid;
  if (request.op == IoOp::write) {
    const IoStatus status = co_await map_all(request.offset, request.length);
    if (status != IoStatus::ok) co_return status;
  }
  // Nothing may change between map_all() and the pins in run_pieces(): no wait comes in between.
  std::vector<Piece> pieces = cut(request.offset, request.length);
  co_return co_await run_pieces(request, request.op, std::move(pieces));
}

/// Zeroes and discards: parts that are not there are zeroes already.
Task<IoStatus> LocalVolume::run_zero(IoRequest& request) {
  if (request.op == IoOp::discard && thin_) {
    const IoStatus status = co_await give_back(request.offset, request.length);
    if (status != IoStatus::ok) co_return status;
    // The volume may have shrunk meanwhile.
    if (!range_within(request.offset, request.length, info_.size_bytes))
      co_return IoStatus::invalid;
  }
  // What a thin volume keeps is the ends in extents that were not given back whole; a thick one
  // keeps its space, so its discards are zeroes, too.
  std::vector<Piece> pieces = cut(request.offset, request.length);
  co_return co_await run_pieces(request, IoOp::write_zeroes, std::move(pieces));
}

/// Returns when every part of the range has its extent.
Task<IoStatus> LocalVolume::map_all(uint64_t offset, uint64_t length) {
  const uint32_t first = parts_.part_of(offset);
  const uint32_t last = parts_.part_of(offset + length - 1);
  for (int round = 0; round < kMaxRounds; ++round) {
    if (!range_within(offset, length, info_.size_bytes)) co_return IoStatus::invalid;
    std::vector<uint32_t> missing;
    bool coming = false;
    for (uint32_t part = first; part <= last; ++part) {
      coming |= parts_.is_coming(part);
      if (!parts_.is_coming(part) && !parts_.is_mapped(part)) missing.push_back(part);
    }
    if (missing.empty() && !coming) co_return IoStatus::ok;
    if (missing.empty()) {
      co_await changed_.wait();
      continue;
    }
    for (const uint32_t part : missing) parts_.expect(part);
    std::vector<uint32_t> given(missing.size());
    const IoStatus status = co_await table_.allocate(serial_, missing, given);
    for (size_t i = 0; i < missing.size(); ++i) {
      parts_.clear(missing[i]);
      if (status == IoStatus::ok) map(missing[i], given[i]);
    }
    changed_.notify_all();
    if (status != IoStatus::ok) co_return status;
  }
  co_return IoStatus::io_error;
}

/// Gives the extents back that lie in the range as a whole.
Task<IoStatus> LocalVolume::give_back(uint64_t offset, uint64_t length) {
  const uint64_t end = offset + length;
  const uint64_t first = parts_.part_of(round_up(offset, extent_bytes()));
  // The last part counts as whole if the volume ends in it.
  const uint64_t last = end == info_.size_bytes ? table_.geometry().extents_for(end)
                                                : parts_.part_of(round_down(end, extent_bytes()));
  std::vector<uint32_t> parts;
  std::vector<uint32_t> gone;
  for (uint64_t i = first; i < last; ++i) {
    const auto part = static_cast<uint32_t>(i);
    if (!parts_.is_mapped(part)) continue;
    parts.push_back(part);
    gone.push_back(parts_.extent_of(part));
    unmap(part);
    // Nobody may get another extent for it before the release below is in the table's queue.
    parts_.expect(part);
  }
  if (parts.empty()) co_return IoStatus::ok;
  VolumeMapChange change;
  change.parts = parts;
  co_await change_copies(change);
  for (const uint32_t part : parts) parts_.clear(part);
  changed_.notify_all();
  co_return co_await table_.release(gone);
}

std::vector<LocalVolume::Piece> LocalVolume::cut(uint64_t offset, uint64_t length) const {
  std::vector<Piece> pieces;
  for (uint64_t at = 0; at < length;) {
    const uint64_t from = offset + at;
    const uint64_t bytes = std::min(length - at, extent_bytes() - parts_.offset_in_part(from));
    const uint32_t part = parts_.part_of(from);
    const bool there = parts_.is_mapped(part);
    Piece* last = pieces.empty() ? nullptr : &pieces.back();
    const bool joins = last != nullptr && (there ? last->count > 0 && parts_.extent_of(part) ==
                                                                          last->extent + last->count
                                                 : last->count == 0);
    if (joins) {
      last->length += bytes;
      if (there) ++last->count;
    } else {
      pieces.push_back({at, bytes, there ? parts_.extent_of(part) : 0, there ? 1u : 0u});
    }
    at += bytes;
  }
  return pieces;
}

Task<IoStatus> LocalVolume::run_pieces(const IoRequest& request, IoOp op,
                                       std::vector<Piece> pieces) {
  const Pins pins(table_, pieces);
  Group group(reactor_);
  for (const Piece& piece : pieces) {
    std::vector<iovec> iov;
    if (op != IoOp::write_zeroes) iov = slice(request, piece.at, piece.length);
    if (piece.count == 0) {
      LATTE_CHECK(op != IoOp::write);
      for (const iovec& part : iov) std::memset(part.iov_base, 0, part.iov_len);
      continue;
    }
    const uint64_t offset = device_offset(request.offset + piece.at, piece.extent);
    ++group.running;
    reactor_.spawn(run_piece(group, op, offset, piece.length, request.fua, std::move(iov)));
  }
  while (group.running > 0) co_await group.ended.wait();
  co_return group.status;
}

Task<void> LocalVolume::run_piece(Group& group, IoOp op, uint64_t offset, uint64_t length, bool fua,
                                  std::vector<iovec> iov) {
  IoRequest below;
  below.op = op;
  below.fua = fua;
  below.offset = offset;
  below.length = length;
  below.iov = iov.data();
  below.iov_count = static_cast<uint32_t>(iov.size());
  const IoStatus status = co_await device_.io(below);
  if (status != IoStatus::ok) group.status = status;
  if (--group.running == 0) group.ended.notify_all();
}

Task<IoStatus> LocalVolume::fill(uint32_t first, uint32_t end) {
  LATTE_CHECK(!thin_ && first <= end);
  if (first == end) co_return IoStatus::ok;
  if (end > parts_.size()) parts_.resize(end);
  // Some may be there from a change that failed after it.
  std::vector<uint32_t> parts;
  for (uint32_t part = first; part < end; ++part)
    if (!parts_.is_mapped(part)) parts.push_back(part);
  if (parts.empty()) co_return IoStatus::ok;
  std::vector<uint32_t> given(parts.size());
  const IoStatus status = co_await table_.allocate(serial_, parts, given);
  if (status != IoStatus::ok) co_return status;
  for (size_t i = 0; i < parts.size(); ++i) map(parts[i], given[i]);
  co_return status;
}

Task<IoStatus> LocalVolume::drop(uint32_t first) {
  LATTE_CHECK(first <= parts_.size());
  const auto any_coming = [&] {
    for (uint32_t part = first; part < parts_.size(); ++part)
      if (parts_.is_coming(part)) return true;
    return false;
  };
  while (any_coming()) co_await changed_.wait();
  std::vector<uint32_t> gone;
  for (uint32_t part = first; part < parts_.size(); ++part) {
    if (!parts_.is_mapped(part)) continue;
    gone.push_back(parts_.extent_of(part));
    unmap(part);
  }
  parts_.resize(std::max<uint64_t>(first, table_.geometry().extents_for(info_.size_bytes)));
  co_return co_await table_.release(gone);
}

Task<IoStatus> LocalVolume::zero_behind_end() {
  const uint64_t within = parts_.offset_in_part(info_.size_bytes);
  const uint32_t part = parts_.part_of(info_.size_bytes);
  if (within == 0 || !parts_.is_mapped(part)) co_return IoStatus::ok;
  std::vector<Piece> pieces(1);
  pieces[0] = {0, extent_bytes() - within, parts_.extent_of(part), 1};
  IoRequest request;
  request.offset = info_.size_bytes;
  request.length = extent_bytes() - within;
  const IoStatus status = co_await run_pieces(request, IoOp::write_zeroes, std::move(pieces));
  if (status != IoStatus::ok) co_return status;
  co_return co_await device_.flush();
}

}  // namespace latte
