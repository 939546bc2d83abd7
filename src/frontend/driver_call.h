// DriverCall: signals the eventfd by which a driver wants to be called, and never blocks.
//
// A write() to an eventfd that the front-end filled up would block, with every disk of the reactor:
// O_NONBLOCK is the front-end's to change, and io_uring gives such a write to a worker thread (90
// us instead of 1). What the kernel signals by itself does not block: so a small io_uring of its
// own has the eventfd registered, and a call is a no-op that completes there.
//
// Thread rule: one thread. Limits: one system call a call.
#pragma once

#include <liburing.h>

#include <memory>

#include "base/result.h"

namespace latte::vhost {

class DriverCall {
 public:
  /// `fd` may be closed afterwards. Errors: invalid (no eventfd), no_space.
  static Result<std::unique_ptr<DriverCall>> make(int fd);
  ~DriverCall();
  DriverCall(const DriverCall&) = delete;
  DriverCall& operator=(const DriverCall&) = delete;

  void call();

 private:
  DriverCall() = default;
  io_uring ring_{};
  bool made_ = false;
};

}  // namespace latte::vhost
