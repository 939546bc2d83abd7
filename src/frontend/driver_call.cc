#include "frontend/driver_call.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace latte::vhost {
namespace {

constexpr unsigned kEntries = 2;

}  // namespace

Result<std::unique_ptr<DriverCall>> DriverCall::make(int fd) {
  std::unique_ptr<DriverCall> result(new DriverCall);
  const int made = io_uring_queue_init(kEntries, &result->ring_, 0);
  if (made < 0)
    return Error{Errc::no_space,
                 fmt::format("no io_uring to call the driver with: {}", std::strerror(-made))};
  result->made_ = true;
  const int registered = io_uring_register_eventfd(&result->ring_, fd);
  if (registered < 0)
    return Error{Errc::invalid, fmt::format("the call descriptor can't be signalled: {}; it has to "
                                            "be an eventfd",
                                            std::strerror(-registered))};
  return result;
}

DriverCall::~DriverCall() {
  if (made_) io_uring_queue_exit(&ring_);
}

void DriverCall::call() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  LATTE_CHECK(sqe != nullptr);  // the last one was submitted and has completed
  io_uring_prep_nop(sqe);
  int submitted;
  do {
    submitted = io_uring_submit(&ring_);
  } while (submitted == -EINTR);
  io_uring_cq_advance(&ring_, io_uring_cq_ready(&ring_));
}

}  // namespace latte::vhost
