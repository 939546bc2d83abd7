// HybridDisk, the entry: requests in and out. Limits: none of its own; a front end bounds what it
// has under way.
#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/planted.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// How long a read of a block that only the cloud has is tried while the cloud answers with errors.
constexpr TimeNs kCloudReadLimitNs = 30 * kSecond;

/// Data is taken to reach the cloud in such pieces until it shows how it does.
constexpr uint64_t kDrainPieceBytes = 64u << 10;
/// What was measured of it counts for so much of clients' data.
constexpr uint64_t kDrainMemoryBytes = 16u << 20;

bool aligned(const IoRequest& request) {
  return request.offset % kBlockBytes == 0 && request.length % kBlockBytes == 0 &&
         request.iov_count == 1 &&
         reinterpret_cast<uintptr_t>(request.iov[0].iov_base) % kBlockBytes == 0;
}

/// The request's memory gathered into one buffer of `bytes`.
void gather(const IoRequest& request, std::span<std::byte> to) {
  size_t at = 0;
  for (uint32_t i = 0; i < request.iov_count; ++i) {
    std::memcpy(to.data() + at, request.iov[i].iov_base, request.iov[i].iov_len);
    at += request.iov[i].iov_len;
  }
}

void scatter(const IoRequest& request, std::span<const std::byte> from) {
  size_t at = 0;
  for (uint32_t i = 0; i < request.iov_count; ++i) {
    std::memcpy(request.iov[i].iov_base, from.data() + at, request.iov[i].iov_len);
    at += request.iov[i].iov_len;
  }
}

/// Stands for the disk in the pool's names.
uint64_t key_of(const Uuid& id) {
  uint64_t key = 0;
  for (const uint8_t byte : id.bytes) key = (key ^ byte) * 0x100000001b3ull;  // FNV-1a
  return key;
}

}  // namespace

HybridDisk::HybridDisk(Reactor& reactor, Pool& pool, CloudVolume& cloud, DiskOptions options,
                       const log::CloudSuper& super)
    : reactor_(reactor),
      pool_(pool),
      cloud_(cloud),
      options_(std::move(options)),
      id_(super.disk_id),
      admission_key_(key_of(id_)),
      super_(super),
      block_count_(log::extent_of(super) / kBlockBytes),
      base_retry_(reactor, cloud.base(), base_traffic_, kCloudReadLimitNs),
      log_retry_(reactor, cloud.log(), log_traffic_, kCloudReadLimitNs),
      meter_(CloudMeter::create(reactor, options_.cloud_limits, *this)),
      base_(reactor, base_retry_, meter_, CloudClass::background),
      cloud_log_device_(reactor, log_retry_, meter_, CloudClass::ship),
      local_index_(block_count_),
      cloud_index_(block_count_),
      pacer_(options_.max_lag_ns),
      drain_cost_(std::min<uint64_t>(options_.cloud_limits.operation_bytes, kDrainPieceBytes),
                  kDrainMemoryBytes),
      state_changed_(reactor),
      active_ended_(reactor),
      ship_work_(reactor),
      cloud_progress_(reactor),
      apply_work_(reactor),
      streams_(options_.read_ahead.stream_blocks),
      admit_work_(reactor) {
  info_.name = options_.name;
  info_.size_bytes = super.size_bytes;
  info_.alignment_bytes = kSectorBytes;
  info_.can_fua = true;
  info_.can_discard = true;
  info_.stable_writes = true;
  if (options_.dispatch.mode != DispatchMode::local)
    dispatch_ = std::make_unique<TierChooser>(options_.dispatch, reactor.random().next());
  pool_.add(*this);
}

HybridDisk::~HybridDisk() {
  pool_.staging().drop(*this, Lba(0), UINT64_MAX);
  pool_.remove(*this);
}

bool HybridDisk::refuse(IoRequest& request, IoStatus status) {
  request.status = status;
  return false;
}

bool HybridDisk::submit(IoRequest& request) {
  if (state_ == State::fenced) return refuse(request, IoStatus::fenced);
  if (state_ == State::failed) return refuse(request, IoStatus::io_error);
  if (holding()) {
    reactor_.spawn(run_held(request));
    return true;
  }
  if (state_ != State::online) return refuse(request, IoStatus::stopped);
  if (request.op != IoOp::flush) {
    const bool valid = request.offset % kSectorBytes == 0 && request.length % kSectorBytes == 0 &&
                       range_within(request.offset, request.length, info_.size_bytes);
    if (!valid) return refuse(request, IoStatus::invalid);
    if (request.length == 0) return refuse(request, IoStatus::ok);
  }
  ++active_;
  switch (request.op) {
    case IoOp::read:
      reactor_.spawn(run_read(request));
      break;
    case IoOp::write:
      reactor_.spawn(run_write(request));
      break;
    case IoOp::flush:
      reactor_.spawn(run_flush(request));
      break;
    case IoOp::discard:
    case IoOp::write_zeroes:
      reactor_.spawn(run_zero(request));
      break;
  }
  return true;
}

void HybridDisk::finish(IoRequest& request, IoStatus status, TimeNs start_ns) {
  const TimeNs took_ns = reactor_.now() - start_ns;
  switch (request.op) {
    case IoOp::read:
      ++stats_.reads;
      stats_.read_bytes += request.length;
      stats_.read_latency.record(took_ns);
      break;
    case IoOp::write:
      ++stats_.writes;
      stats_.write_bytes += request.length;
      stats_.write_latency.record(took_ns);
      break;
    case IoOp::flush:
      ++stats_.flushes;
      break;
    case IoOp::discard:
    case IoOp::write_zeroes:
      ++stats_.discards;
      break;
  }
  request.status = status;
  reactor_.schedule(request.waiter);
  LATTE_CHECK(active_ > 0);
  if (--active_ == 0) active_ended_.notify_all();
}

Task<void> HybridDisk::run_write(IoRequest& request) {
  const TimeNs start_ns = reactor_.now();
  IoStatus status = IoStatus::ok;
  if (aligned(request)) {
    const auto* data = static_cast<const std::byte*>(request.iov[0].iov_base);
    status = co_await write_blocks(Lba(request.offset / kBlockBytes), request.length / kBlockBytes,
                                   data, log::EntryKind::data, false);
  } else {
    Buffer copy(request.length);
    gather(request, copy.span());
    status = co_await write_unaligned(request.offset, copy.span());
  }
  if (status == IoStatus::ok && request.fua) status = co_await flush_disk();
  finish(request, status, start_ns);
}

Task<void> HybridDisk::run_zero(IoRequest& request) {
  const TimeNs start_ns = reactor_.now();
  const uint64_t first = round_up(request.offset, kBlockBytes);
  const uint64_t end = request.offset + request.length;
  const uint64_t last = std::max(first, round_down(end, kBlockBytes));
  IoStatus status = IoStatus::ok;
  // Whole blocks as one entry; what sticks out at either side as zeroes written into their block.
  if (last > first && first <= end)
    status = co_await write_blocks(Lba(first / kBlockBytes), (last - first) / kBlockBytes, nullptr,
                                   log::EntryKind::zero, false);
  Buffer zeroes(kBlockBytes);
  std::memset(zeroes.data(), 0, kBlockBytes);
  const uint64_t head = std::min(first, end) - request.offset;
  if (status == IoStatus::ok && head > 0)
    status = co_await write_unaligned(request.offset, zeroes.span().first(head));
  const uint64_t tail = first <= end ? end - last : 0;
  if (status == IoStatus::ok && tail > 0)
    status = co_await write_unaligned(last, zeroes.span().first(tail));
  if (status == IoStatus::ok && request.fua) status = co_await flush_disk();
  finish(request, status, start_ns);
}

Task<void> HybridDisk::run_read(IoRequest& request) {
  const TimeNs start_ns = reactor_.now();
  IoStatus status = IoStatus::ok;
  const Keep keep = begin_read(request);
  if (aligned(request)) {
    const std::span<std::byte> out(static_cast<std::byte*>(request.iov[0].iov_base),
                                   request.length);
    status = co_await read_blocks(Lba(request.offset / kBlockBytes), out, keep);
  } else {
    const uint64_t first = round_down(request.offset, kBlockBytes);
    const uint64_t end = round_up(request.offset + request.length, kBlockBytes);
    Buffer whole(end - first);
    status = co_await read_blocks(Lba(first / kBlockBytes), whole.span(), keep);
    if (status == IoStatus::ok)
      scatter(request, whole.span().subspan(request.offset - first, request.length));
  }
  finish(request, status, start_ns);
}

Task<void> HybridDisk::run_flush(IoRequest& request) {
  const TimeNs start_ns = reactor_.now();
  const IoStatus status = co_await flush_disk();
  finish(request, status, start_ns);
}

Task<IoStatus> HybridDisk::flush_disk() {
  if (options_.durability == Durability::local && local_usable()) {
    if (planted(Planted::skip_local_flush)) co_return IoStatus::ok;
    const IoStatus status = co_await local_->flush_completed();
    if (status == IoStatus::ok) co_return status;
    on_local_failure(status);
  }
  // Durable means in the cloud: asked for, or because the pool can't promise anything any more.
  const uint64_t lost_before = stats_.lost_blocks;
  const IoStatus status = co_await wait_in_cloud(next_seq_ - 1);
  if (status == IoStatus::ok && stats_.lost_blocks != lost_before) co_return IoStatus::io_error;
  co_return status;
}

}  // namespace latte
