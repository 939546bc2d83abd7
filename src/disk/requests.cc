// HybridDisk, the entry: requests in and out, life cycle. Limits: none of its own; a front end
// bounds what it has under way.
#include <fmt/format.h>
#include "base/logging.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/planted.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// How long a read of a block that only the cloud has is tried while the cloud answers with errors.
constexpr TimeNs kCloudReadLimitNs = 30 * kSecond;

/// How long a stop waits for the cloud to get what a failed pool can't keep.
constexpr TimeNs kStopShipNs = 30 * kSecond;
constexpr TimeNs kStopLookNs = 10 * kMillisecond;

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

}  // namespace

HybridDisk::HybridDisk(Reactor& reactor, Pool& pool, CloudVolume& cloud, DiskOptions options,
                       const log::CloudSuper& super)
    : reactor_(reactor),
      pool_(pool),
      cloud_(cloud),
      options_(std::move(options)),
      id_(super.disk_id),
      super_(super),
      block_count_(super.size_bytes / kBlockBytes),
      base_(reactor, cloud.base(), base_traffic_, kCloudReadLimitNs),
      cloud_log_device_(reactor, cloud.log(), log_traffic_, kCloudReadLimitNs),
      local_index_(block_count_),
      cloud_index_(block_count_),
      pacer_(options_.max_lag_ns),
      tickets_changed_(reactor),
      active_ended_(reactor),
      ship_work_(reactor),
      cloud_progress_(reactor),
      apply_work_(reactor) {
  info_.name = options_.name;
  info_.size_bytes = super.size_bytes;
  info_.alignment_bytes = kSectorBytes;
  info_.can_fua = true;
  info_.can_discard = true;
  info_.stable_writes = true;
  pool_.add(*this);
}

HybridDisk::~HybridDisk() { pool_.remove(*this); }

bool HybridDisk::refuse(IoRequest& request, IoStatus status) {
  request.status = status;
  return false;
}

bool HybridDisk::submit(IoRequest& request) {
  if (state_ == State::fenced) return refuse(request, IoStatus::fenced);
  if (state_ == State::failed) return refuse(request, IoStatus::io_error);
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
  co_await pace(request.length);
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
  if (aligned(request)) {
    const std::span<std::byte> out(static_cast<std::byte*>(request.iov[0].iov_base),
                                   request.length);
    status = co_await read_blocks(Lba(request.offset / kBlockBytes), out);
  } else {
    const uint64_t first = round_down(request.offset, kBlockBytes);
    const uint64_t end = round_up(request.offset + request.length, kBlockBytes);
    Buffer whole(end - first);
    status = co_await read_blocks(Lba(first / kBlockBytes), whole.span());
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
    const IoStatus status = co_await local_->flush();
    if (status == IoStatus::ok) co_return status;
    on_local_failure(status);
  }
  // Durable means in the cloud: asked for, or because the pool can't promise anything any more.
  const uint64_t lost_before = stats_.lost_blocks;
  const IoStatus status = co_await wait_in_cloud(next_seq_ - 1);
  if (status == IoStatus::ok && stats_.lost_blocks != lost_before) co_return IoStatus::io_error;
  co_return status;
}

void HybridDisk::start() {
  LATTE_CHECK(state_ == State::recovering);
  state_ = State::online;
  if (pool_.failed()) pool_failed();
  background_tasks_ = 4;
  reactor_.spawn(run_shipper());
  reactor_.spawn(run_applier());
  reactor_.spawn(forward_room(pool_.room()));
  reactor_.spawn(forward_room(cloud_space_->freed()));
}

/// Whoever lacks room waits for one thing, progress in the cloud; free segments wake them as well.
Task<void> HybridDisk::forward_room(WaitQueue& freed) {
  while (!background_stop_) {
    co_await freed.wait();
    cloud_progress_.notify_all();
    apply_work_.notify_all();
  }
  --background_tasks_;
  active_ended_.notify_all();
}

/// A stopped disk takes no longer than its flush: what is dirty stays in the pool. Unless the pool
/// can't be flushed: then the cloud gets it, if it answers.
Task<void> HybridDisk::settle() {
  IoStatus status = local_->failed() ? local_->failure() : co_await local_->flush();
  if (status == IoStatus::ok) co_return;
  on_local_failure(status);
  const TimeNs limit_ns = reactor_.now() + kStopShipNs;
  while (ship_pending() && going_on() && reactor_.now() < limit_ns) {
    ship_work_.notify_all();
    co_await reactor_.sleep(kStopLookNs);
  }
}

Task<Result<void>> HybridDisk::stop() {
  const bool was_online = state_ == State::online;
  if (was_online) state_ = State::stopped;
  pool_.room().notify_all();
  cloud_progress_.notify_all();
  while (active_ > 0) co_await active_ended_.wait();
  if (was_online) co_await settle();
  const bool unsafe = was_online && going_on() && local_->failed() && ship_pending();
  background_stop_ = true;
  base_.stop();
  cloud_log_device_.stop();
  ship_timer_.cancel();
  ship_work_.notify_all();
  apply_work_.notify_all();
  cloud_progress_.notify_all();
  pool_.room().notify_all();
  if (cloud_space_) cloud_space_->freed().notify_all();
  while (background_tasks_ > 0) co_await active_ended_.wait();
  if (was_online && local_usable()) co_await close_local_log();
  if (local_) co_await local_->quiesce();
  if (cloud_stream_) co_await cloud_stream_->quiesce();
  state_ = State::stopped;
  if (unsafe)
    co_return Error{
        Errc::io,
        fmt::format(
            "disk {}: the pool {} failed ({}), and {} bytes did not reach the cloud in {} s; they "
            "may be lost with the host's power: serve the disk again before",
            name(), pool_.space().device().info().name, to_string(local_->failure()), dirty_bytes_,
            kStopShipNs / kSecond)};
  co_return Result<void>();
}

/// Ends the pool's log with a table that says that all before it was flushed. What goes bad behind a
/// clean stop is then damage, and not taken for the end of what survived.
Task<void> HybridDisk::close_local_log() {
  IoStatus status = co_await local_->flush();
  if (status == IoStatus::ok) status = co_await local_->seal_open_segment();
  if (status == IoStatus::ok) status = co_await pool_.space().device().flush();  // the table
  if (status != IoStatus::ok)
    log_warning("disk {}: closing the pool's log failed: {}", name(), to_string(status));
}

void HybridDisk::enter(State state, const std::string& reason) {
  // A disk that is being stopped can still find out that it may not go on; then nobody waits for
  // it.
  if (background_stop_ || state_ == State::fenced || state_ == state) return;
  state_ = state;
  reason_ = reason;
  log_error("disk {}: {}", name(), reason);
  ship_work_.notify_all();
  apply_work_.notify_all();
  cloud_progress_.notify_all();
  tickets_changed_.notify_all();
  pool_.room().notify_all();
  pool_.poke();
}

void HybridDisk::on_cloud_status(IoStatus status) {
  if (status == IoStatus::fenced)
    enter(
        State::fenced,
        fmt::format("fenced: another host took the disk over (this host attached it as generation "
                    "{}); this host serves it no more",
                    super_.generation));
  else if (status != IoStatus::ok && status != IoStatus::stopped)
    enter(State::failed, fmt::format("cloud volume {}: {}", cloud_.name(), to_string(status)));
}

}  // namespace latte
