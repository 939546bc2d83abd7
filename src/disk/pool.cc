#include "disk/pool.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/planted.h"

namespace latte {
namespace {

/// Share of the pool kept free, and reclaimed at a time so that one superblock write serves many
/// segments: a 64th.
constexpr uint64_t kFreeShare = 64;
/// Of a pool of so many segments two are kept free at least: what gets another round needs one
/// while its own is not free yet.
constexpr uint64_t kEnoughForTwo = 64;

uint64_t low_watermark_for(uint64_t segments) {
  return std::max<uint64_t>(segments / kFreeShare, segments >= kEnoughForTwo ? 2 : 1);
}

}  // namespace

Pool::Pool(Reactor& reactor, std::unique_ptr<log::SegmentSpace> space,
           policy::AdmissionOptions admission)
    : reactor_(reactor),
      space_(std::move(space)),
      admission_(admission, space_->segment_count() * space_->segment_blocks()),
      staging_(admission_.staging_blocks()),
      work_(reactor),
      ended_(reactor),
      low_watermark_(low_watermark_for(space_->segment_count())) {}

void Pool::remove(Reclaimable& disk) { std::erase(disks_, &disk); }

void Pool::mark_failed() {
  if (failed_) return;
  failed_ = true;
  for (Reclaimable* disk : disks_) disk->pool_failed();
}

void Pool::start() {
  LATTE_CHECK(!running_);
  running_ = true;
  reactor_.spawn(run());
}

Task<void> Pool::stop() {
  stopping_ = true;
  poke();
  while (running_) co_await ended_.wait();
}

Reclaimable* Pool::pick() const {
  Reclaimable* best = nullptr;
  size_t most = 0;
  for (Reclaimable* disk : disks_) {
    const size_t count = disk->reclaimable_segments();
    if (count > most) best = disk, most = count;
  }
  return best;
}

Task<Result<void>> Pool::write_super(std::string_view disk) {
  const IoStatus status = co_await space_->write_super();
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("disk {}: pool {}: writing the superblock failed: {}",
                                          disk, space_->device().info().name, to_string(status))};
  co_return Result<void>();
}

Task<void> Pool::run() {
  while (!stopping_) {
    bool progress = false;
    const uint64_t notified = work_.notified();
    if (low() && !failed_) progress = co_await reclaim_some();
    const bool missed = work_.notified() != notified;
    if (!progress && !missed && !stopping_) co_await work_.wait();
  }
  running_ = false;
  ended_.notify_all();
}

Task<bool> Pool::reclaim_some() {
  std::vector<uint32_t> segments;
  uint64_t batch = low_watermark_;
  if (pick() == nullptr && starving_) {
    for (size_t i = 0; i < disks_.size(); ++i) co_await disks_[i]->seal_if_shipped();
  }
  while (segments.size() < batch && !stopping_) {
    Reclaimable* disk = pick();
    if (disk == nullptr) break;
    co_await disk->evacuate_front();
    disk->cut_front(segments);
  }
  if (segments.empty()) co_return false;
  if (!planted(Planted::reuse_before_durable_tail)) {
    const IoStatus status = co_await space_->write_super();
    if (status != IoStatus::ok) {
      // Without a durable tail the segments may not be used again: they stay out of use until
      // restart.
      mark_failed();
      co_return false;
    }
  }
  starving_ = false;
  for (const uint32_t segment : segments) space_->release(segment);
  space_->freed().notify_all();
  co_return true;
}

}  // namespace latte
