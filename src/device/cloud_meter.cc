#include "device/cloud_meter.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace latte {
namespace {

/// Of what the limits let through, while all classes want more: 8 of 12, 3 and 1.
constexpr std::array<double, kCloudClasses> kShares = {8, 3, 1};
/// Of a class that is urgent: four times the foreground's.
constexpr double kUrgentShare = 32;

constexpr size_t index_of(CloudClass io_class) { return static_cast<size_t>(io_class); }

/// Clears a flag when the coroutine that set it ends, also when it is destroyed half way.
struct FlagGuard {
  bool& flag;
  ~FlagGuard() { flag = false; }
};

}  // namespace

CloudUse& CloudUse::operator+=(const CloudUse& other) {
  requests += other.requests;
  operations += other.operations;
  bytes += other.bytes;
  waited_ns += other.waited_ns;
  return *this;
}

CloudUse CloudMeterStats::total() const {
  CloudUse sum;
  for (const CloudUse& one : use) sum += one;
  return sum;
}

std::shared_ptr<CloudMeter> CloudMeter::create(Reactor& reactor, CloudLimits limits,
                                               const CloudUrgency& urgency) {
  return std::shared_ptr<CloudMeter>(new CloudMeter(reactor, limits, urgency));
}

CloudMeter::CloudMeter(Reactor& reactor, CloudLimits limits, const CloudUrgency& urgency)
    : reactor_(reactor),
      urgency_(urgency),
      limits_(limits),
      operations_(limits.operations, reactor.now()),
      bytes_(limits.bytes, reactor.now()) {
  LATTE_CHECK(limits.operation_bytes > 0);
}

/// Discards and zeroes move nothing, whatever their length.
CloudMeter::Cost CloudMeter::cost_of(const IoRequest& request) const {
  const bool transfer = request.op == IoOp::read || request.op == IoOp::write;
  if (!transfer) return Cost{1, 0};
  return Cost{limits_.operations_of(request.length), request.length};
}

TimeNs CloudMeter::free_at() const { return std::max(operations_.free_at(), bytes_.free_at()); }

/// What a request takes of the limit that it takes most of; without limits nothing is shared.
double CloudMeter::share_ns(const Cost& cost) const {
  const auto span = [](uint64_t units, uint64_t per_second) {
    if (per_second == 0) return 0.0;
    return static_cast<double>(units) * static_cast<double>(kSecond) /
           static_cast<double>(per_second);
  };
  return std::max(span(cost.operations, operations_.limit().per_second),
                  span(cost.bytes, bytes_.limit().per_second));
}

void CloudMeter::charge(CloudClass io_class, const Cost& cost) {
  const TimeNs now_ns = reactor_.now();
  operations_.charge(cost.operations, now_ns);
  bytes_.charge(cost.bytes, now_ns);
  const size_t index = index_of(io_class);
  if (limits_.any()) {
    const double share = urgency_.urgent(io_class) ? kUrgentShare : kShares[index];
    virtual_ns_ = std::max(queues_[index].tag, virtual_ns_);
    queues_[index].tag = virtual_ns_ + share_ns(cost) / share;
  }
  CloudUse& use = stats_.use[index];
  ++use.requests;
  use.operations += cost.operations;
  use.bytes += cost.bytes;
}

bool CloudMeter::admit(IoRequest& request, CloudClass io_class, CloudExit& exit) {
  if (request.op == IoOp::flush) return true;
  const Cost cost = cost_of(request);
  stats_.wanted_operations += cost.operations;
  const bool was_waiting = any_waiting();
  if (stopped_ || !limits_.any() || (!was_waiting && free_at() <= reactor_.now())) {
    charge(io_class, cost);
    return true;
  }
  request.device_private = &exit;
  request.device_number = static_cast<uint64_t>(reactor_.now());
  queues_[index_of(io_class)].waiting.push_back(request);
  if (!was_waiting) limited_since_ns_ = reactor_.now();
  if (!pumping_) {
    pumping_ = true;
    Task<void> task = pump(shared_from_this());
    reactor_.spawn(std::move(task));
  }
  return false;
}

bool CloudMeter::any_waiting() const {
  return std::any_of(queues_.begin(), queues_.end(),
                     [](const Queue& queue) { return !queue.waiting.empty(); });
}

/// The class whose next request starts first in virtual time.
size_t CloudMeter::next_class() const {
  size_t best = kCloudClasses;
  for (size_t i = 0; i < kCloudClasses; ++i) {
    if (queues_[i].waiting.empty()) continue;
    if (best == kCloudClasses ||
        std::max(queues_[i].tag, virtual_ns_) < std::max(queues_[best].tag, virtual_ns_))
      best = i;
  }
  LATTE_CHECK(best < kCloudClasses);
  return best;
}

Task<void> CloudMeter::pump(std::shared_ptr<CloudMeter> self) {
  const FlagGuard guard{self->pumping_};
  while (self->any_waiting()) {
    const TimeNs now_ns = self->reactor_.now();
    const TimeNs free_at_ns = self->limits_.any() ? self->free_at() : now_ns;
    if (free_at_ns > now_ns) {
      co_await self->reactor_.sleep_until(free_at_ns);
      continue;
    }
    const size_t index = self->next_class();
    IoRequest& request = self->queues_[index].waiting.pop_front();
    if (!self->any_waiting())
      self->stats_.limited_ns += static_cast<uint64_t>(now_ns - self->limited_since_ns_);
    self->stats_.use[index].waited_ns += static_cast<uint64_t>(now_ns) - request.device_number;
    self->charge(static_cast<CloudClass>(index), self->cost_of(request));
    static_cast<CloudExit*>(request.device_private)->pass(request);
  }
}

void CloudMeter::stop() {
  stopped_ = true;
  for (Queue& queue : queues_) {
    while (!queue.waiting.empty()) {
      IoRequest& request = queue.waiting.pop_front();
      request.status = IoStatus::stopped;
      reactor_.schedule(request.waiter);
    }
  }
  LATTE_CHECK(!any_waiting());
}

TimeNs CloudMeter::time_for(uint64_t operations, uint64_t bytes) const {
  const TimeNs now_ns = reactor_.now();
  return std::max(operations_.time_for(operations, now_ns), bytes_.time_for(bytes, now_ns));
}

CloudUse CloudMeter::use_behind() const {
  CloudUse sum = stats_.use[index_of(CloudClass::ship)];
  sum += stats_.use[index_of(CloudClass::background)];
  return sum;
}

void CloudMeter::set_iops(uint64_t per_second) {
  limits_.operations.per_second = per_second;
  operations_.set_rate(per_second, reactor_.now());
}

CloudMeterStats CloudMeter::stats() const {
  CloudMeterStats stats = stats_;
  const TimeNs now_ns = reactor_.now();
  for (const Queue& queue : queues_)
    queue.waiting.for_each([&](const IoRequest&) { ++stats.waiting; });
  if (stats.waiting > 0) stats.limited_ns += static_cast<uint64_t>(now_ns - limited_since_ns_);
  stats.operation_credits = operations_.credits(now_ns);
  stats.byte_credits = bytes_.credits(now_ns);
  stats.limits = limits_;
  return stats;
}

}  // namespace latte
