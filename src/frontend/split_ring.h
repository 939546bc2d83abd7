// SplitRing: descriptor table, available ring, used ring. (Virtio 1.x, "Split Virtqueues".)
//
// Invariants:
//  1. used_ and next_avail_ are ours; what memory says about them is looked at once, at the start.
//  2. The inflight region, if there is one, follows the specification's steps: a buffer is marked
//     before the next one is taken, and the marks of a batch go after the used index has moved.
// Thread rule: one reactor. Limits: as Virtqueue.
#pragma once

#include <deque>
#include <vector>

#include "frontend/virtqueue.h"

namespace latte::vhost {

class SplitRing final : public Virtqueue {
 public:
  SplitRing(const Setup& setup) : setup_(setup), under_way_(setup.size, 0) {}

  Pop pop(const GuestMemory& memory, Chain& chain) override;
  Pop pop_unfinished(const GuestMemory& memory, Chain& chain) override;
  bool has_next() override;
  void push(const Chain& chain, uint32_t written) override;
  void publish() override;
  bool call_wanted() override;
  void suppress_kicks() override;
  bool request_kicks() override;
  uint32_t base() const override { return next_avail_; }
  bool relocate(const GuestMemory& memory) override;

 protected:
  Result<void> start() override;

 private:
  Result<void> recover();
  Pop read_chain(const GuestMemory& memory, uint16_t head, Chain& chain);
  uint32_t mask() const { return setup_.size - 1; }

  const Setup setup_;
  const InflightSplit inflight_{setup_.inflight};
  std::byte* descriptors_ = nullptr;
  uint16_t* available_ = nullptr;  // flags, idx, ring[size], used_event
  uint16_t* used_ring_ = nullptr;  // flags, idx, {u32 id, u32 len}[size], avail_event
  uint16_t next_avail_ = 0;        // position of the next buffer to take
  uint16_t avail_seen_ = 0;        // idx when last looked at
  uint16_t used_ = 0;              // position of the next buffer to give back
  uint16_t published_ = 0;
  uint16_t called_ = 0;  // used position at the last look for the driver's wish
  uint64_t counter_ = 0;
  std::vector<uint8_t> under_way_;   // by first descriptor
  std::vector<uint16_t> batch_;      // given back and not published
  std::deque<uint16_t> unfinished_;  // in order of their counters
};

}  // namespace latte::vhost
