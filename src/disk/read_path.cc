// HybridDisk, the read path: find the newest copy, read it, check it, and fall back where that is
// right.
#include <algorithm>
#include <cstring>

#include "base/logging.h"

#include "base/crc32c.h"
#include "base/planted.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// Most device requests of one client read at a time.
constexpr size_t kReadFanOut = 32;

}  // namespace

/// The longest stretch from `lba` on, at most `limit` blocks, that one request can read.
HybridDisk::Run HybridDisk::resolve(Lba lba, uint64_t limit) const {
  Run run;
  run.lba = lba;
  run.count = 1;
  const uint64_t local = local_index_.find(lba);
  if (local != BlockIndex::kNone) {
    run.source = Run::Source::local;
    run.address = local;
    while (run.count < limit && local_index_.find(lba + run.count) == local + run.count)
      ++run.count;
    return run;
  }
  const auto local_hit = local_extents_.find(lba, limit);
  if (local_hit.found) {
    run.source = Run::Source::zero;
    run.count = local_hit.run;
    return run;
  }
  return resolve_cloud(lba, local_hit.run, false);
}

/// The same below the local layer. `covered`: whether the pool has the blocks, too, or else the
/// stretch ends where it has one.
HybridDisk::Run HybridDisk::resolve_cloud(Lba lba, uint64_t limit, bool covered) const {
  Run run;
  run.lba = lba;
  run.count = 1;
  const auto visible = [&](Lba block) {
    return covered || local_index_.find(block) == BlockIndex::kNone;
  };
  const uint64_t cloud = cloud_index_.find(lba);
  if (cloud != BlockIndex::kNone) {
    run.source = Run::Source::cloud_log;
    run.address = cloud;
    while (run.count < limit && visible(lba + run.count) &&
           cloud_index_.find(lba + run.count) == cloud + run.count)
      ++run.count;
    return run;
  }
  const auto cloud_hit = cloud_extents_.find(lba, limit);
  limit = cloud_hit.run;
  run.source = Run::Source::base;
  if (cloud_hit.found)
    run.source = cloud_hit.kind == ExtentKind::zero ? Run::Source::zero : Run::Source::lost;
  while (run.count < limit && visible(lba + run.count) &&
         cloud_index_.find(lba + run.count) == BlockIndex::kNone)
    ++run.count;
  return run;
}

Task<IoStatus> HybridDisk::read_blocks(Lba lba, std::span<std::byte> out, Keep keep) {
  const uint64_t count = out.size() / kBlockBytes;
  Run run = resolve(lba, count);
  if (run.count == count) co_return co_await read_run(run, out, keep);
  IoGroup group(reactor_);
  for (uint64_t at = 0; at < count; at += run.count) {
    run = resolve(lba + at, count - at);
    ++group.running;
    reactor_.spawn(
        read_member(group, run, out.subspan(at * kBlockBytes, run.count * kBlockBytes), keep));
    while (group.running >= kReadFanOut) co_await group.ended.wait();
  }
  while (group.running > 0) co_await group.ended.wait();
  co_return group.status;
}

Task<void> HybridDisk::read_member(IoGroup& group, Run run, std::span<std::byte> out, Keep keep) {
  // Spawned tasks start a little later: look again, in case the blocks have moved since.
  const IoStatus status = co_await read_in_order(run.lba, out, keep);
  if (status != IoStatus::ok) group.status = status;
  --group.running;
  group.ended.notify_all();
}

/// One stretch after the other, each where it is when its turn comes.
Task<IoStatus> HybridDisk::read_in_order(Lba lba, std::span<std::byte> out, Keep keep) {
  const uint64_t count = out.size() / kBlockBytes;
  IoStatus status = IoStatus::ok;
  for (uint64_t at = 0; at < count && status == IoStatus::ok;) {
    const Run now = resolve(lba + at, count - at);
    status = co_await read_run(now, out.subspan(at * kBlockBytes, now.count * kBlockBytes), keep);
    at += now.count;
  }
  co_return status;
}

Task<IoStatus> HybridDisk::read_run(Run run, std::span<std::byte> out, Keep keep) {
  switch (run.source) {
    case Run::Source::local: {
      const PoolRead read = begin_pool_read(run);
      if (read.race) co_return co_await read_raced(run, read, out, keep);
      const IoStatus status = co_await read_local(run, out, keep);
      end_io(read.ticket, status);
      co_return status;
    }
    case Run::Source::zero:
      std::memset(out.data(), 0, out.size());
      co_return IoStatus::ok;
    case Run::Source::lost:
      co_return IoStatus::lost;
    case Run::Source::cloud_log:
    case Run::Source::base:
      break;
  }
  if (const uint64_t count = read_staged(run, out); count > 0)
    co_return co_await read_in_order(run.lba + count, out.subspan(count * kBlockBytes), keep);
  if (std::shared_ptr<Fetch> other = keep == Keep::alone ? nullptr : fetch_at(run.lba))
    co_return co_await read_fetched(std::move(other), run, out, keep);
  if (std::shared_ptr<Ahead> piece = piece_at(run.lba))
    co_return co_await read_piece(std::move(piece), run, out, keep);
  stats_.read_miss_blocks += run.count;
  if (keep == Keep::pass_by) stats_.stream_blocks += run.count;
  std::shared_ptr<Fetch> fetch = keep == Keep::if_worth ? begin_fetch(run) : nullptr;
  const DispatchTicket ticket = begin_io(IoKind::read, run.count, Tier::cloud);
  // Into memory of our own: a client's may be written to or reused before the pool has it.
  const std::span<std::byte> into = fetch == nullptr ? out : fetch->data.span();
  const IoStatus status = co_await read_cloud(run, into);
  end_io(ticket, status);
  if (fetch == nullptr) co_return status;
  if (status == IoStatus::ok) std::memcpy(out.data(), fetch->data.data(), out.size());
  end_fetch(std::move(fetch), status);
  co_return status;
}

Task<IoStatus> HybridDisk::read_local(Run run, std::span<std::byte> out, Keep keep) {
  log::SegmentSpace& space = pool_.space();
  const log::SegmentSpace::Pin pin(space, space.segment_of(run.address));
  const IoStatus status = co_await space.device().read(space.device_offset(run.address), out);
  const bool checked = planted(Planted::skip_crc_check);
  if (status == IoStatus::ok && (checked || space.verify(run.address, out))) {
    stats_.read_hit_blocks += run.count;
    for (uint64_t i = 0; i < run.count; ++i) space.note_access(run.address + i);
    co_return IoStatus::ok;
  }
  // Block by block: what is good is used, a bad clean copy is fetched from the cloud, a bad dirty
  // one is an error and an alarm (promise 6).
  for (uint64_t i = 0; i < run.count; ++i) {
    const auto block = out.subspan(i * kBlockBytes, kBlockBytes);
    const Lba lba = run.lba + i;
    const log::BlockAddress address = run.address + i;
    IoStatus one = co_await space.device().read(space.device_offset(address), block);
    if (one == IoStatus::ok && space.verify(address, block)) continue;
    if (one == IoStatus::ok) {
      ++stats_.checksum_errors;
      one = IoStatus::checksum;
    }
    if (!is_shipped(address)) {
      log_error("disk {}: block {} (pool block {}): {}, and the cloud does not have it yet", name(),
                lba.value, address, to_string(one));
      co_return one;
    }
    log_warning("disk {}: block {} (pool block {}): {}; fetched from the cloud", name(), lba.value,
                address, to_string(one));
    local_index_.erase_if(lba, address);
    const Run again = resolve(lba, 1);
    if (again.source == Run::Source::local && again.address == address) co_return one;
    one = co_await read_run(again, block, keep);
    if (one != IoStatus::ok) co_return one;
  }
  co_return IoStatus::ok;
}

Task<IoStatus> HybridDisk::read_cloud(Run run, std::span<std::byte> out) {
  if (run.source == Run::Source::base)
    co_return co_await base_.read(run.lba.value * kBlockBytes, out);
  log::SegmentSpace& space = *cloud_space_;
  const log::SegmentSpace::Pin pin(space, space.segment_of(run.address));
  const IoStatus status = co_await cloud_log_device_.read(space.device_offset(run.address), out);
  if (status != IoStatus::ok) co_return status;
  uint32_t bad = 0;
  if (space.verify(run.address, out, &bad)) co_return IoStatus::ok;
  ++stats_.checksum_errors;
  log_error("disk {}: block {} (cloud log block {}): checksum mismatch", name(),
            run.lba.value + bad, run.address + bad);
  co_return IoStatus::checksum;
}

/// Does the cloud hold what lies at this place of the pool's log? A copy came from there.
bool HybridDisk::is_shipped(log::BlockAddress local_address) const {
  const log::SegmentSpace& space = pool_.space();
  if (space.is_copy(local_address)) return true;
  const log::LogPosition position{space.order_of(space.segment_of(local_address)),
                                  space.block_of(local_address)};
  return position < shipped_end();
}

}  // namespace latte
