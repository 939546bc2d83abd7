// Pool: the local tier's device with its segments, shared by all disks of a host; and the reclaimer
// that keeps some of them free.
//
// Invariants:
//  1. A segment is reclaimed only when the cloud log holds everything in it (its disk says so),
//     oldest first per disk: a newer copy of a block outlives every older one.
//  2. Its disk's new tail is durable before the segment is handed out again.
// Thread rule: the host's reactor.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "log/log_stream.h"
#include "log/segment_space.h"
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
  Pool(Reactor& reactor, std::unique_ptr<log::SegmentSpace> space);

  log::SegmentSpace& space() { return *space_; }
  const log::SegmentSpace& space() const { return *space_; }
  log::WriteAccount& account() { return account_; }

  /// Free segments that clients' writes leave alone: one a disk, for notes that must always fit.
  uint64_t reserve_segments() const { return disks_.size(); }
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
