// PackedRing: one ring that both sides write. (Virtio 1.x, "Packed Virtqueues".)
//
// Invariants:
//  1. Positions and wrap counters are ours; of memory only the descriptors at them are looked at.
//  2. Of a batch given back, the first entry's flags are written last: the driver sees all or none,
//     which is also what the inflight region's recovery relies on (packed_inflight.h).
//  3. The entries of buffers under way never exceed the ring.
// Thread rule: one reactor. Limits: as Virtqueue.
#pragma once

#include <vector>

#include "frontend/packed_inflight.h"
#include "frontend/virtqueue.h"

namespace latte::vhost {

class PackedRing final : public Virtqueue {
 public:
  PackedRing(const Setup& setup) : setup_(setup) {}

  Pop pop(const GuestMemory& memory, Chain& chain) override;
  Pop pop_unfinished(const GuestMemory& memory, Chain& chain) override;
  bool has_next() override;
  void push(const Chain& chain, uint32_t written) override;
  void publish() override;
  bool call_wanted() override;
  void suppress_kicks() override;
  bool request_kicks() override;
  uint32_t base() const override;
  bool relocate(const GuestMemory& memory) override;
  void close() override;

 protected:
  Result<void> start() override;

 private:
  using Position = PackedPosition;
  struct Given {
    Position at;
    Chain chain;  // without pieces
    uint32_t written = 0;
  };

  Result<void> recover();
  void advance(Position& position, uint32_t entries) const;
  std::byte* descriptor_at(const Position& position) const {
    return descriptors_ + position.index * sizeof(Descriptor);
  }
  uint16_t* flags_at(const Position& position) const {
    return reinterpret_cast<uint16_t*>(descriptor_at(position) + offsetof(PackedDescriptor, flags));
  }
  Pop add_any(const GuestMemory& memory, const Descriptor& descriptor, bool first, Chain& chain);
  void write_used(const Given& given);

  const Setup setup_;
  PackedInflight inflight_{setup_.inflight, setup_.size};
  std::byte* descriptors_ = nullptr;
  uint16_t* driver_event_ = nullptr;  // off_wrap, flags: what the driver wants to be called for
  uint16_t* device_event_ = nullptr;  // the same for kicks
  Position next_avail_;
  Position used_;
  Position called_;
  uint32_t called_entries_ = 0;  // given back since the last look for the driver's wish
  uint32_t entries_under_way_ = 0;
  std::vector<Given> batch_;  // given back and not published
  size_t batch_size_ = 0;
};

}  // namespace latte::vhost
