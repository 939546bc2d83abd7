// HybridDisk, read-ahead: what a sequential stream is about to read is fetched from the cloud into
// memory, so that a reader that asks for little at a time gets the cloud's bandwidth and not one
// block a trip. Only for streams whose blocks pass the pool by: where every miss is admitted they
// are to be in the pool.
//
// How far ahead: kFirstBlocks, and twice as far whenever a client had to wait, to what the disk's
// options allow. So a stream costs little more than it reads if it ends.
//
// Never older data: as for copies (admission.cc). A piece begins where no write is under way, and
// from then on every write that gets a seq drops the pieces it overlaps before it is acknowledged.
//
// Limits: kMaxPieces of kPieceBlocks (16 MiB) a disk; a piece is kept for kKeepNs.
#include <algorithm>
#include <cstring>

#include "base/planted.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// One request to the cloud: what clouds count as one operation.
constexpr uint64_t kPieceBlocks = 64;
constexpr size_t kMaxPieces = ReadAheadOptions::kMaxBytes / kBlockBytes / kPieceBlocks;
constexpr uint64_t kFirstBlocks = 2 * kPieceBlocks;
/// Nobody came for it: the stream has ended, or is so slow that it needs no help. Also bounds how
/// old an answer a host can give that was stopped while another one took its disk over.
constexpr TimeNs kKeepNs = 2 * kSecond;

}  // namespace

// Blocks of the cloud in memory, or on their way.
struct HybridDisk::Ahead {
  Ahead(Run from, Reactor& reactor)
      : run(from), data(from.count * kBlockBytes), begin_ns(reactor.now()), ended(reactor) {}

  bool holds(Lba lba) const { return run.lba <= lba && lba < run.lba + run.count; }

  Run run;
  Buffer data;
  TimeNs begin_ns;
  uint64_t used_blocks = 0;
  bool overtaken = false;  ///< by a write: what was read may be old
  bool done = false;
  IoStatus status = IoStatus::ok;
  WaitQueue ended;
};

/// A client reads what belongs to a stream: fetches what it is about to read.
void HybridDisk::read_ahead(const policy::StreamDetector::Sighting& seen) {
  const uint64_t most = options_.read_ahead.window_bytes / kBlockBytes;
  if (most == 0 || state_ != State::online || background_stop_) return;
  drop_old_pieces();
  AheadWindow& window = ahead_windows_[seen.number];
  const uint64_t next = seen.next.value;
  // Another stream, or one that has left its window behind.
  if (window.end < next || window.end > next + most) window = {next, std::min(kFirstBlocks, most)};
  const uint64_t end = std::min(next + window.blocks, info_.size_bytes / kBlockBytes);
  while (window.end < end && ahead_.size() < kMaxPieces) {
    // Whole pieces, but for the last one of the disk.
    const uint64_t rest = info_.size_bytes / kBlockBytes - window.end;
    const uint64_t count = std::min({kPieceBlocks, rest, most});
    if (window.end + count > end) break;
    const Run run = resolve(Lba(window.end), count);
    window.end += run.count;
    const bool in_cloud = run.source == Run::Source::base || run.source == Run::Source::cloud_log;
    if (!in_cloud || under_way(run.lba, run.count, true)) continue;
    auto piece = std::make_shared<Ahead>(run, reactor_);
    ahead_.push_back(piece);
    ++background_tasks_;
    reactor_.spawn(fetch_ahead(std::move(piece)));
  }
}

Task<void> HybridDisk::fetch_ahead(std::shared_ptr<Ahead> piece) {
  // Tasks start a little later: the blocks may have moved, as they do when they are applied.
  const Run now = resolve(piece->run.lba, piece->run.count);
  const bool moved = now.source != piece->run.source || now.count != piece->run.count ||
                     now.address != piece->run.address;
  piece->status = IoStatus::stopped;
  if (!moved && !piece->overtaken) {
    const DispatchTicket ticket = begin_io(IoKind::read, now.count, Tier::cloud);
    piece->status = co_await read_cloud(now, piece->data.span());
    end_io(ticket, piece->status);
    stats_.ahead_blocks += now.count;
  }
  piece->done = true;
  if (piece->status != IoStatus::ok) std::erase(ahead_, piece);
  piece->ended.notify_all();
  --background_tasks_;
  active_ended_.notify_all();
}

std::shared_ptr<HybridDisk::Ahead> HybridDisk::piece_at(Lba lba) {
  if (ahead_.empty()) return nullptr;
  drop_old_pieces();
  for (const auto& piece : ahead_)
    if (piece->holds(lba)) return piece;
  return nullptr;
}

/// Reads `run` as far as `piece` has it, and the rest as if it were a read of its own.
Task<IoStatus> HybridDisk::read_piece(std::shared_ptr<Ahead> piece, Run run,
                                      std::span<std::byte> out, Keep keep) {
  if (!piece->done) widen_window(run.lba);
  while (!piece->done) co_await piece->ended.wait();
  if (piece->overtaken || piece->status != IoStatus::ok)
    co_return co_await read_in_order(run.lba, out, keep);
  const uint64_t from = run.lba - piece->run.lba;
  const uint64_t count = std::min(run.count, piece->run.count - from);
  const size_t bytes = count * kBlockBytes;
  std::memcpy(out.data(), piece->data.data() + from * kBlockBytes, bytes);
  stats_.read_miss_blocks += count;
  stats_.ahead_served_blocks += count;
  if (keep == Keep::pass_by) stats_.stream_blocks += count;
  piece->used_blocks += count;
  if (piece->used_blocks >= piece->run.count) std::erase(ahead_, piece);
  co_return co_await read_in_order(run.lba + count, out.subspan(bytes), keep);
}

/// A client waits for `lba`: its stream was not far enough ahead.
void HybridDisk::widen_window(Lba lba) {
  const uint64_t most = options_.read_ahead.window_bytes / kBlockBytes;
  for (AheadWindow& window : ahead_windows_)
    if (lba.value < window.end && window.end <= lba.value + most)
      window.blocks = std::min(2 * window.blocks, most);
}

void HybridDisk::drop_old_pieces() {
  const TimeNs now_ns = reactor_.now();
  std::erase_if(
      ahead_, [&](const auto& piece) { return piece->done && now_ns - piece->begin_ns > kKeepNs; });
}

/// Something is written to these blocks, or they go.
void HybridDisk::drop_pieces(Lba lba, uint64_t count) {
  if (planted(Planted::stale_read_ahead)) return;
  std::erase_if(ahead_, [&](const auto& piece) {
    const bool hit = overlap(piece->run.lba, piece->run.count, lba, count);
    piece->overtaken |= hit;
    return hit;
  });
}

}  // namespace latte
