#include "device/retrying_device.h"

#include <algorithm>

namespace latte {
namespace {

constexpr TimeNs kFirstBackoffNs = 10 * kMillisecond;
constexpr TimeNs kMaxBackoffNs = kSecond;
constexpr TimeNs kHoldLookNs = kMillisecond / 2;

/// Errors that trying again can't mend.
bool final_status(IoStatus status) {
  return status == IoStatus::ok || status == IoStatus::fenced || status == IoStatus::invalid ||
         status == IoStatus::stopped;
}

}  // namespace

RetryingDevice::RetryingDevice(Reactor& reactor, BlockDevice& below, DeviceTraffic& traffic,
                               TimeNs read_limit_ns)
    : reactor_(reactor),
      below_(below),
      traffic_(traffic),
      read_limit_ns_(read_limit_ns),
      let_go_(reactor) {}

bool RetryingDevice::submit(IoRequest& request) {
  reactor_.spawn(run(request));
  return true;
}

Task<void> RetryingDevice::run(IoRequest& request) {
  Waiting waiting;
  waiting.since_ns = reactor_.now();
  waiting_.push_back(waiting);
  TimeNs backoff_ns = kFirstBackoffNs;
  IoStatus status = IoStatus::ok;
  const bool is_read = request.op == IoOp::read;
  const bool changes = !is_read && request.op != IoOp::flush;
  while (changes && held_ && !stopping_) co_await let_go_.wait();
  waiting.writes = changes;
  for (;;) {
    IoRequest attempt;
    attempt.ask_as(request, request.offset);
    if (is_read) {
      ++traffic_.reads;
      traffic_.read_bytes += request.length;
    } else if (request.op != IoOp::flush) {
      ++traffic_.writes;
      traffic_.write_bytes += request.op == IoOp::write ? request.length : 0;
    }
    status = co_await below_.io(attempt);
    last_error_ = status;
    if (final_status(status)) break;
    ++traffic_.errors;
    if (stopping_) {
      status = IoStatus::stopped;
      break;
    }
    if (is_read && reactor_.now() - waiting.since_ns >= read_limit_ns_) break;
    co_await reactor_.sleep(backoff_ns);
    backoff_ns = std::min(2 * backoff_ns, kMaxBackoffNs);
    if (stopping_) {
      status = IoStatus::stopped;
      break;
    }
  }
  request.status = status;
  reactor_.schedule(request.waiter);
}

void RetryingDevice::stop() {
  stopping_ = true;
  let_go_.notify_all();
}

bool RetryingDevice::writing() const {
  bool any = false;
  waiting_.for_each([&](const Waiting& one) { any |= one.writes; });
  return any;
}

Task<bool> RetryingDevice::hold_writes(TimeNs deadline_ns) {
  held_ = true;
  while (writing() && !stopping_ && reactor_.now() < deadline_ns)
    co_await reactor_.sleep(kHoldLookNs);
  co_return !writing();
}

void RetryingDevice::let_writes() {
  held_ = false;
  let_go_.notify_all();
}

Task<void> RetryingDevice::end_waiting() {
  LATTE_CHECK(stopping_);
  const TimeNs deadline_ns = reactor_.now() + kStopWaitNs;
  while (!waiting_.empty() && reactor_.now() < deadline_ns)
    co_await reactor_.sleep(kFirstBackoffNs);
  if (!waiting_.empty()) below_.cancel_all();
}

TimeNs RetryingDevice::oldest_wait_ns() const {
  return waiting_.empty() ? 0 : reactor_.now() - waiting_.front().since_ns;
}

}  // namespace latte
