// Virtqueue: the device's side of one ring: takes the driver's buffers, gives them back, and knows
// when either side wants to be woken. Two forms, as the virtio 1.x specification has them: split
// (split_ring.h, section "Split Virtqueues") and packed (packed_ring.h, "Packed Virtqueues").
//
// Invariants:
//  1. Every field that the driver shares is read once, then judged: what was judged is what is
//  used.
//  2. Nothing outside the guest's memory is ever read or written for a driver's sake, and no driver
//     makes a call loop: a chain ends after kMaxChainDescriptors, a ring's index may not jump.
//  3. A queue that returned `broken` is used no more.
//  4. A buffer that pop() returned is one that is not already under way.
// Thread rule: one reactor. Limits: the constants below.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "frontend/guest_memory.h"
#include "frontend/inflight_region.h"
#include "frontend/vhost_user_protocol.h"

namespace latte::vhost {

/// Most entries of a ring. (The specification allows 32768; drivers use 128 to 256.)
inline constexpr uint32_t kMaxQueueSize = 1024;
/// Most descriptors of one buffer, indirect ones included.
inline constexpr uint32_t kMaxChainDescriptors = 256;
/// Most pieces of memory of one buffer: a descriptor may lie across regions.
inline constexpr uint32_t kMaxChainPieces = 2 * kMaxChainDescriptors;

/// One buffer of the driver: what it may be read from first, then what may be written to.
struct Chain {
  uint16_t id = 0;              ///< split: its first descriptor; packed: the buffer id
  uint16_t ring_entries = 0;    ///< packed: the entries it takes in the ring
  uint16_t inflight_entry = 0;  ///< packed: its place in the inflight region
  uint32_t readable = 0;        ///< of `pieces`, how many are for reading
  std::vector<iovec> pieces;

  void clear() {
    readable = 0;
    pieces.clear();
  }
};

enum class Pop : uint8_t {
  empty,   ///< nothing there
  chain,   ///< a buffer was taken
  broken,  ///< the driver broke the rules; see reason()
};

/// The parts of a descriptor that both ring formats share, read once.
struct Descriptor {
  uint64_t address = 0;
  uint32_t length = 0;
  uint16_t flags = 0;
  uint16_t next = 0;  ///< split: the next one; packed: the buffer id
};
static_assert(sizeof(Descriptor) == 16);
/// The same in a packed ring and its indirect tables, where the last two are the other way round.
struct PackedDescriptor {
  uint64_t address = 0;
  uint32_t length = 0;
  uint16_t id = 0;
  uint16_t flags = 0;
};
static_assert(sizeof(PackedDescriptor) == sizeof(Descriptor));
/// Reads each field of a shared descriptor once. `at` is aligned to 8.
Descriptor read_descriptor(const std::byte* at);
/// The same for a packed one; its id becomes `next`.
Descriptor read_packed_descriptor(const std::byte* at);

class Virtqueue {
 public:
  struct Setup {
    uint32_t size = 0;  ///< entries; checked by make()
    RingAddresses addresses;
    uint32_t base = 0;  ///< as SET_VRING_BASE gave it
    bool event_index = false;
    bool indirect = false;
    InflightQueue inflight;  ///< may be empty
  };

  /// Errors: invalid (size, addresses outside the memory or misaligned, damaged inflight region).
  static Result<std::unique_ptr<Virtqueue>> make_split(const Setup& setup,
                                                       const GuestMemory& memory);
  static Result<std::unique_ptr<Virtqueue>> make_packed(const Setup& setup,
                                                        const GuestMemory& memory);
  virtual ~Virtqueue() = default;

  /// Takes the driver's next buffer.
  virtual Pop pop(const GuestMemory& memory, Chain& chain) = 0;
  /// Takes the next buffer that was under way when the server before this one died. To be called
  /// until it returns `empty`, before the first pop().
  virtual Pop pop_unfinished(const GuestMemory& memory, Chain& chain) = 0;
  /// True if pop() would return something.
  virtual bool has_next() = 0;

  /// Gives a buffer back with `written` bytes written to it; the driver sees it after publish().
  virtual void push(const Chain& chain, uint32_t written) = 0;
  virtual void publish() = 0;
  /// After publish(): does the driver want to be called for what it has not been called for?
  virtual bool call_wanted() = 0;

  /// The driver need not kick.
  virtual void suppress_kicks() = 0;
  /// The driver is to kick from now on. True: it has made something available meanwhile, and may
  /// not kick for that.
  virtual bool request_kicks() = 0;

  /// Where the driver's side continues, as GET_VRING_BASE returns it.
  virtual uint32_t base() const = 0;
  /// Finds the rings in a changed table. False: they are no longer in it.
  virtual bool relocate(const GuestMemory& memory) = 0;
  /// The ring stops because the front-end asked for it: nothing is under way, base() is what
  /// counts.
  virtual void close() {}

  /// Why it is broken.
  const char* reason() const { return reason_; }

 protected:
  /// Finds the new ring in memory and starts it. Errors: as make_split() and make_packed().
  static Result<std::unique_ptr<Virtqueue>> started(std::unique_ptr<Virtqueue> ring,
                                                    const GuestMemory& memory);
  /// Once, when relocate() has found the ring and before anything else. Errors: invalid (base),
  /// and where the inflight region has no room for the ring or is damaged.
  virtual Result<void> start() = 0;

  Pop broken(const char* reason) {
    reason_ = reason;
    return Pop::broken;
  }
  /// Adds a data descriptor to `chain`; false: it breaks a rule, see reason().
  bool add(const GuestMemory& memory, const Descriptor& descriptor, Chain& chain);
  /// Adds all of an indirect table; `packed`: its entries follow each other, else each names the
  /// next one.
  bool add_table(const GuestMemory& memory, const Descriptor& head, bool packed, Chain& chain);

  const char* reason_ = "";
};

}  // namespace latte::vhost
