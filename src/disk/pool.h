// Pool: the local tier's device with its segments, shared by all disks of a host; and the reclaimer
// that keeps some of them free.
//
// Invariants:
//  1. A segment is reclaimed only when the cloud log holds everything in it (its disk says so),
//     oldest first per disk: a newer copy of a block outlives every older one.
//  2. Its disk's new tail is durable before the segment is handed out again.
// Thread rule: the host's reactor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "disk/staging.h"
#include "log/log_stream.h"
#include "log/segment_space.h"
#include "policy/admission.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

namespace latte {

/// What the reclaimer needs of a disk.
class Reclaimable {
 public:
  virtual ~Reclaimable() = default;
  /// Segments at the front of the chain that hold nothing the cloud lacks.
  virtual size_t reclaimable_segments() const = 0;
  /// Ends the open segment if it is all shipped and nothing else could be reclaimed.
  virtual Task<void> seal_if_shipped() = 0;
  /// Makes the disk forget (or move) what the front segment holds.
  virtual Task<void> evacuate_front() = 0;
  /// Takes the evacuated front segment out of the chain.
  virtual void cut_front(std::vector<uint32_t>& segments) = 0;
  /// The pool's device failed.
  virtual void pool_failed() = 0;
};

class Pool {
 public:
  Pool(Reactor& reactor, std::unique_ptr<log::SegmentSpace> space,
       policy::AdmissionOptions admission);

  log::SegmentSpace& space() { return *space_; }
  const log::SegmentSpace& space() const { return *space_; }
  log::WriteAccount& account() { return account_; }

  policy::Admission& admission() { return admission_; }
  const policy::Admission& admission() const { return admission_; }
  Staging& staging() { return staging_; }

  /// Makes a change of `disk`'s slot durable. Errors: io.
  Task<Result<void>> write_super(std::string_view disk);

  /// Free segments that clients' writes leave alone: one a disk, for notes that must always fit.
  uint64_t reserve_segments() const { return disks_.size(); }
  /// Free segments that copies of cloud blocks leave to clients' writes.
  uint64_t copy_reserve_segments() const { return reserve_segments() + low_watermark_; }
  /// Room that one disk may fill with what the cloud lacks before copies have to stand back.
  uint64_t share_bytes() const {
    return space_->size_bytes() / std::max<uint64_t>(1, disks_.size());
  }
  void add(Reclaimable& disk) { disks_.push_back(&disk); }
  void remove(Reclaimable& disk);

  void start();
  /// Ends the reclaimer.
  Task<void> stop();
  /// Wakes the reclaimer: something became reclaimable, or a writer found no room.
  void poke() { work_.notify_all(); }
  void want_room() {
    starving_ = true;
    poke();
  }
  /// Somebody's write waits for room.
  bool starving() const { return starving_; }
  /// Fewer segments are free than the reclaimer keeps: those that writes and copies leave alone,
  /// and one for a copy to begin.
  bool low() const {
    const uint64_t for_copies = admission_.mode() == policy::AdmissionMode::none ? 0 : 1;
    return space_->free_segments() < copy_reserve_segments() + for_copies;
  }
  /// Notified when room appeared.
  WaitQueue& room() { return space_->freed(); }

  /// The device failed: nothing more is written to it.
  bool failed() const { return failed_; }
  void mark_failed();

 private:
  Task<void> run();
  Task<bool> reclaim_some();
  Reclaimable* pick() const;

  Reactor& reactor_;
  std::unique_ptr<log::SegmentSpace> space_;
  policy::Admission admission_;
  Staging staging_;
  log::WriteAccount account_;
  std::vector<Reclaimable*> disks_;
  WaitQueue work_;
  WaitQueue ended_;
  uint64_t low_watermark_;
  bool running_ = false;
  bool stopping_ = false;
  bool starving_ = false;
  bool failed_ = false;
};

}  // namespace latte
