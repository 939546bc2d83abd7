// RequestRelay: passes clients' requests on to a device, with the clients' own memory, and answers
// each when the device is done with it, without a way through the ready queue.
//
// Thread rule: one reactor. Limits: memory grows to the most requests ever under way together.
#pragma once

#include <cstdint>

#include "disk/stats.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"
#include "runtime/repeater.h"
#include "runtime/slot_pool.h"

namespace latte {

class RequestRelay {
 public:
  class Owner {
   public:
    /// A request has ended and its status stands; its client goes on after this. `first` and
    /// `count` are as they were given to submit().
    virtual void on_relayed(uint32_t first, uint32_t count) = 0;

   protected:
    ~Owner() = default;
  };

  /// All of them outlive the last request. What has ended is counted in `stats`.
  RequestRelay(Reactor& reactor, BlockDevice& device, Owner& owner, DiskStats& stats);
  ~RequestRelay();
  RequestRelay(const RequestRelay&) = delete;
  RequestRelay& operator=(const RequestRelay&) = delete;

  /// Passes `request` on to `offset` of the device. `first` and `count` say what of the owner's it
  /// touches. False: it has ended already, and the owner knows.
  bool submit(IoRequest& request, uint64_t offset, uint32_t first, uint32_t count);

 private:
  struct Slot;

  void settle(Slot& slot);
  static Repeater relay(Slot& slot);

  Reactor& reactor_;
  BlockDevice& device_;
  Owner& owner_;
  DiskStats& stats_;
  SlotPool<Slot> slots_;
};

}  // namespace latte
