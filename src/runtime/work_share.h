// WorkShare: how much data each of a reactor's tenants (a guest's disk, say) may have under way in
// the drive that they share.
//
// A drive answers in the order in which it was asked, more or less: whoever keeps megabytes queued
// there makes everybody else wait for them, however fair the turns are in which requests are taken.
// So while there is more than one tenant, each gets an equal part of kSharedBytes: enough to keep a
// drive busy (256 KiB are 75 us at 3.4 GB/s), little to wait for. Who is alone gets all it likes.
//
// Invariants:
//  1. A tenant with nothing under way may always start one request, whatever its size.
//  2. A tenant counts for kActiveNs after its last request: longer than the pauses of one that asks
//     now and then, for it is the one that would wait.
// Thread rule: one reactor's; those of another reactor share for themselves. Limits: any number of
// tenants; beyond kSharedBytes / kLeastBytes of them, they share more than kSharedBytes.
#pragma once

#include <cstdint>

#include "base/intrusive_list.h"
#include "base/units.h"

namespace latte {

class WorkShare {
 public:
  static constexpr uint64_t kSharedBytes = 512u << 10;
  /// One large request, or 32 of 4 KiB.
  static constexpr uint64_t kLeastBytes = 128u << 10;
  static constexpr TimeNs kActiveNs = kSecond;
  static constexpr uint64_t kUnlimited = UINT64_MAX;

  /// A tenant, embedded in its owner. Destroying it takes it out.
  class Tenant : public ListNode {
   public:
    explicit Tenant(WorkShare& share) : share_(share) {}
    Tenant(const Tenant&) = delete;
    Tenant& operator=(const Tenant&) = delete;
    ~Tenant();

    /// It has just started something.
    void note_request(TimeNs now_ns);
    /// The most it may have under way, in bytes.
    uint64_t limit_bytes() const { return share_.limit_bytes_; }

   private:
    friend class WorkShare;
    WorkShare& share_;
    TimeNs last_ns_ = 0;
  };

  /// Tenants that count.
  uint64_t active() const { return active_; }

 private:
  void forget_idle(TimeNs now_ns);
  void set_active(uint64_t count);

  IntrusiveList<Tenant> tenants_;  // those that count
  uint64_t active_ = 0;
  uint64_t limit_bytes_ = kUnlimited;
  TimeNs looked_ns_ = 0;
};

}  // namespace latte
