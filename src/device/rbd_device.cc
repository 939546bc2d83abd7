#include "device/rbd_device.h"

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

namespace latte {
namespace {

/// Pause before a full mailbox is tried again.
constexpr std::chrono::microseconds kMailboxRetry{100};
/// librbd's requests are cut at its objects, of 4 MiB usually; longer ones gain nothing.
constexpr uint64_t kMaxRequestBytes = 16u << 20;

}  // namespace

RbdDevice::RbdDevice(UringReactor& reactor, std::string name) : reactor_(reactor) {
  info_.name = std::move(name);
  info_.max_request_bytes = kMaxRequestBytes;
  info_.can_fua = true;
  info_.can_discard = true;
  info_.volatile_cache = false;
}

RbdDevice::~RbdDevice() { LATTE_CHECK(pushing_.load() == 0); }

int RbdDevice::opened() {
  uint64_t bytes = 0;
  const int error = image_.size(&bytes);
  if (error < 0) return error;
  info_.size_bytes = round_down(bytes, kSectorBytes);
  return 0;
}

RbdDevice::Operation& RbdDevice::take_operation() {
  if (idle_.empty()) {
    operations_.push_back(std::make_unique<Operation>());
    operations_.back()->device = this;
    idle_.reserve(operations_.size());
    return *operations_.back();
  }
  Operation& operation = *idle_.back();
  idle_.pop_back();
  return operation;
}

bool RbdDevice::submit(IoRequest& request) {
  const bool writes = request.op != IoOp::read && request.op != IoOp::flush;
  request.status = IoStatus::ok;
  if (request.op == IoOp::flush) return false;
  if (!range_within(request.offset, request.length, info_.size_bytes))
    request.status = IoStatus::invalid;
  else if (writes && !writable_.load(std::memory_order_acquire))
    request.status = IoStatus::fenced;
  if (request.status != IoStatus::ok || request.length == 0) return false;
  Operation& operation = take_operation();
  operation.request = &request;
  operation.completion = new librbd::RBD::AioCompletion(&operation, &RbdDevice::on_completion);
  const int error = start(request, operation);
  if (error >= 0) return true;
  operation.result = error;
  request.status = status_of(operation, request);
  operation.request = nullptr;
  finish(operation);
  return false;
}

int RbdDevice::start(IoRequest& request, Operation& operation) {
  switch (request.op) {
    case IoOp::read:
      return image_.aio_read(request.offset, request.length, operation.data, operation.completion);
    case IoOp::write:
      for (uint32_t i = 0; i < request.iov_count; ++i)
        operation.data.append(static_cast<const char*>(request.iov[i].iov_base),
                              static_cast<unsigned>(request.iov[i].iov_len));
      return image_.aio_write(request.offset, request.length, operation.data, operation.completion);
    case IoOp::discard:
    case IoOp::write_zeroes:
      // Not aio_discard(): it leaves the data of ranges below a granularity where they are.
      return image_.aio_write_zeroes(request.offset, request.length, operation.completion, 0, 0);
    case IoOp::flush:
      break;
  }
  return -EINVAL;
}

IoStatus RbdDevice::status_of(const Operation& operation, const IoRequest& request) const {
  // Without the lock and not on the blocklist: somebody took the lock away by hand. This client may
  // not write any more either way.
  if (operation.result == -EROFS) return IoStatus::fenced;
  if (operation.result < 0) return io_status_from_errno(static_cast<int>(operation.result));
  const bool whole = request.op != IoOp::read || operation.data.length() == request.length;
  return whole ? IoStatus::ok : IoStatus::io_error;
}

void RbdDevice::finish(Operation& operation) {
  IoRequest* request = std::exchange(operation.request, nullptr);
  if (request != nullptr) {
    request->status = status_of(operation, *request);
    if (request->status == IoStatus::ok && request->op == IoOp::read) {
      auto from = operation.data.cbegin();
      for (uint32_t i = 0; i < request->iov_count; ++i)
        from.copy(static_cast<unsigned>(request->iov[i].iov_len),
                  static_cast<char*>(request->iov[i].iov_base));
    }
    reactor_.schedule(request->waiter);
  }
  operation.completion->release();
  operation.completion = nullptr;
  operation.data.clear();
  idle_.push_back(&operation);
}

void RbdDevice::on_completion(librbd::completion_t, void* context) {
  auto& operation = *static_cast<Operation*>(context);
  operation.result = operation.completion->get_return_value();
  operation.device->push(operation);
}

void RbdDevice::push(Operation& operation) {
  // Announced before detached_ is read, as detach() sets that before it looks here: one of the two
  // sees the other, and no message goes to a reactor that is gone.
  pushing_.fetch_add(1);
  if (!detached_.load()) {
    Operation* head = ended_.load(std::memory_order_relaxed);
    do operation.next = head;
    while (!ended_.compare_exchange_weak(head, &operation, std::memory_order_acq_rel));
    if (head == nullptr) {
      const Message message{
          [](Reactor&, void* device) { static_cast<RbdDevice*>(device)->drain(); }, this};
      while (!reactor_.mailbox().post(message)) std::this_thread::sleep_for(kMailboxRetry);
    }
  }
  pushing_.fetch_sub(1);
}

void RbdDevice::drain() {
  Operation* newest = ended_.exchange(nullptr, std::memory_order_acq_rel);
  Operation* oldest = nullptr;
  while (newest != nullptr) {
    Operation* next = std::exchange(newest->next, oldest);
    oldest = std::exchange(newest, next);
  }
  while (oldest != nullptr) {
    Operation& operation = *oldest;
    oldest = std::exchange(operation.next, nullptr);
    finish(operation);
  }
}

void RbdDevice::cancel_all() {
  for (const auto& operation : operations_) {
    IoRequest* request = std::exchange(operation->request, nullptr);
    if (request == nullptr) continue;
    request->status = IoStatus::stopped;
    reactor_.schedule(request->waiter);
  }
}

void RbdDevice::detach() {
  detached_.store(true);
  while (pushing_.load() != 0) std::this_thread::sleep_for(kMailboxRetry);
}

}  // namespace latte
