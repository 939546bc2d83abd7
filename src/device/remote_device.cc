#include "device/remote_device.h"

#include "base/check.h"

namespace latte {

RemoteDevice::RemoteDevice(UringReactor& here, UringReactor& there, BlockDevice& device)
    : here_(here),
      device_(device),
      info_(device.info()),
      to_device_(here, there, &begin, this),
      from_device_(there, here, &end, this) {
  LATTE_CHECK(&here != &there);
}

RemoteDevice::~RemoteDevice() = default;

/// On the device's reactor, when it is done with the slot's request.
Repeater RemoteDevice::send_back(Slot& slot) {
  for (;;) {
    slot.owner->from_device_.send(slot);
    co_await std::suspend_always{};
  }
}

bool RemoteDevice::submit(IoRequest& request) {
  Slot& slot = slots_.take([this](Slot& made) {
    made.owner = this;
    made.ended = send_back(made);
  });
  slot.request = &request;
  slot.below.ask_as(request, request.offset);
  slot.below.waiter = slot.ended.handle();
  to_device_.send(slot);
  return true;
}

void RemoteDevice::begin(void* context, ReactorLink::Node& node) {
  RemoteDevice& self = *static_cast<RemoteDevice*>(context);
  Slot& slot = static_cast<Slot&>(node);
  if (!self.device_.submit(slot.below)) self.from_device_.send(slot);
}

void RemoteDevice::end(void* context, ReactorLink::Node& node) {
  RemoteDevice& self = *static_cast<RemoteDevice*>(context);
  Slot& slot = static_cast<Slot&>(node);
  IoRequest& request = *slot.request;
  request.status = slot.below.status;
  slot.request = nullptr;
  self.slots_.give_back(slot);
  self.here_.schedule(request.waiter);
}

}  // namespace latte
