#include "device/fenced_file_device.h"

#include "base/check.h"
#include "device/file_lock.h"

namespace latte {

/// Leaves also when the coroutine is destroyed half way.
struct FencedFileDevice::Leave {
  FencedFileDevice& device;
  ~Leave() { device.leave(); }
};

void FencedFileDevice::resume() {
  LATTE_CHECK(paused_ > 0);
  --paused_;
}

FencedFileDevice::Entry FencedFileDevice::enter() {
  if (paused_ > 0) return Entry::wait;
  if (under_way_ == 0) {
    const LockOutcome outcome = try_lock(below_.fd(), LockKind::shared);
    if (outcome == LockOutcome::held_by_other) return Entry::wait;  // a take-over is under way
    if (outcome == LockOutcome::failed) return Entry::failed;
  }
  ++under_way_;
  return Entry::open;
}

void FencedFileDevice::leave() {
  LATTE_CHECK(under_way_ > 0);
  if (--under_way_ == 0) unlock(below_.fd());
}

bool FencedFileDevice::submit(IoRequest& request) {
  if (request.op == IoOp::read) return below_.submit(request);
  if (request.op == IoOp::flush) {
    request.status = fence_.check();
    if (request.status != IoStatus::ok) return false;
    return below_.submit(request);
  }
  Task<void> task = run_write(request);
  reactor_.spawn(std::move(task));
  return true;
}

Task<void> FencedFileDevice::run_write(IoRequest& request) {
  Entry entry = enter();
  while (entry == Entry::wait) {
    co_await reactor_.sleep(kRetryNs);
    entry = enter();
  }
  IoStatus status = IoStatus::io_error;
  if (entry == Entry::open) {
    const Leave guard{*this};
    status = fence_.check();
    if (status == IoStatus::ok) {
      IoRequest passed;
      passed.op = request.op;
      passed.fua = request.fua;
      passed.offset = request.offset;
      passed.length = request.length;
      passed.iov = request.iov;
      passed.iov_count = request.iov_count;
      status = co_await below_.io(passed);
    }
  }
  request.status = status;
  reactor_.schedule(request.waiter);
}

}  // namespace latte
