#include "device/throttle.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace latte {
namespace {

constexpr auto kSecondNs = static_cast<double>(kSecond);

/// Clears a flag when the coroutine that set it ends, also when it is destroyed half way.
struct FlagGuard {
  bool& flag;
  ~FlagGuard() { flag = false; }
};

}  // namespace

std::shared_ptr<Throttle> Throttle::create(Reactor& reactor, ThrottleLimits limits) {
  return std::shared_ptr<Throttle>(new Throttle(reactor, limits));
}

Throttle::Throttle(Reactor& reactor, ThrottleLimits limits) : reactor_(reactor), limits_(limits) {
  LATTE_CHECK(limits.burst_ns >= 0);
}

TimeNs Throttle::free_at() const {
  return static_cast<TimeNs>(std::ceil(std::max(bytes_free_at_ns_, requests_free_at_ns_)));
}

void Throttle::charge(const IoRequest& request, TimeNs now_ns) {
  const auto floor_ns = static_cast<double>(now_ns - limits_.burst_ns);
  const bool transfer = request.op == IoOp::read || request.op == IoOp::write;
  if (limits_.bytes_per_second != 0 && transfer) {
    const double cost_ns = static_cast<double>(request.length) * kSecondNs /
                           static_cast<double>(limits_.bytes_per_second);
    bytes_free_at_ns_ = std::max(bytes_free_at_ns_, floor_ns) + cost_ns;
  }
  if (limits_.requests_per_second != 0) {
    const double cost_ns = kSecondNs / static_cast<double>(limits_.requests_per_second);
    requests_free_at_ns_ = std::max(requests_free_at_ns_, floor_ns) + cost_ns;
  }
}

bool Throttle::admit(IoRequest& request, ThrottleExit& exit) {
  LATTE_CHECK(request.op != IoOp::flush);
  const TimeNs now_ns = reactor_.now();
  if (queue_.empty() && free_at() <= now_ns) {
    charge(request, now_ns);
    return true;
  }
  request.device_private = &exit;
  queue_.push_back(request);
  if (!pumping_) {
    pumping_ = true;
    Task<void> task = pump(shared_from_this());
    reactor_.spawn(std::move(task));
  }
  return false;
}

Task<void> Throttle::pump(std::shared_ptr<Throttle> self) {
  const FlagGuard guard{self->pumping_};
  while (!self->queue_.empty()) {
    const TimeNs now_ns = self->reactor_.now();
    const TimeNs free_at_ns = self->free_at();
    if (free_at_ns > now_ns) {
      co_await self->reactor_.sleep_until(free_at_ns);
      continue;
    }
    IoRequest& request = self->queue_.pop_front();
    self->charge(request, now_ns);
    static_cast<ThrottleExit*>(request.device_private)->pass(request);
  }
}

}  // namespace latte
