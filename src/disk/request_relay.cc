#include "disk/request_relay.h"

namespace latte {

struct RequestRelay::Slot {
  RequestRelay* relay = nullptr;
  IoRequest below;
  IoRequest* request = nullptr;
  uint32_t first = 0;
  uint32_t count = 0;
  TimeNs start_ns = 0;
  Slot* next_free = nullptr;
  Repeater coroutine;  ///< what the device resumes
};

RequestRelay::RequestRelay(Reactor& reactor, BlockDevice& device, Owner& owner, DiskStats& stats)
    : reactor_(reactor), device_(device), owner_(owner), stats_(stats) {}

RequestRelay::~RequestRelay() = default;

/// Waits for the device, and hands over to the client.
Repeater RequestRelay::relay(Slot& slot) {
  struct Ended {
    Slot& slot;
    bool await_ready() const { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<>) {
      const std::coroutine_handle<> waiter = slot.request->waiter;
      slot.relay->settle(slot);
      return waiter;
    }
    void await_resume() const {}
  };
  for (;;) co_await Ended{slot};
}

bool RequestRelay::submit(IoRequest& request, uint64_t offset, uint32_t first, uint32_t count) {
  Slot& slot = slots_.take([this](Slot& made) {
    made.relay = this;
    made.coroutine = relay(made);
  });
  slot.request = &request;
  slot.first = first;
  slot.count = count;
  slot.start_ns = reactor_.now();
  slot.below.ask_as(request, offset);
  slot.below.waiter = slot.coroutine.handle();
  if (device_.submit(slot.below)) return true;
  settle(slot);
  return false;
}

void RequestRelay::settle(Slot& slot) {
  IoRequest& request = *slot.request;
  request.status = slot.below.status;
  stats_.count(request, reactor_.now() - slot.start_ns);
  const uint32_t first = slot.first;
  const uint32_t count = slot.count;
  slot.request = nullptr;
  slots_.give_back(slot);
  owner_.on_relayed(first, count);
}

}  // namespace latte
