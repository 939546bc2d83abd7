// RbdDevice: an image of a Ceph cluster as a block device, on librbd's asynchronous calls.
//
// librbd completes on threads of its own: they push what ended onto a list without a lock, and the
// first to find it empty sends the reactor one message, which takes all of it.
//
// Invariants:
//  1. librbd only sees memory of this device: writes are copied into it, reads out of it. So a
//     request can be given up (cancel_all()), or die with its reactor, while the cluster hangs.
//  2. Without librbd's cache a write is durable when it completes; a flush has nothing to do.
// Thread rule: the reactor's thread; image() and the rest of set-up before it is used there, and
// close() after. Limits: none of its own.
#pragma once

#include <atomic>
#include <memory>
#include <rbd/librbd.hpp>
#include <string>
#include <vector>

#include "runtime/block_device.h"
#include "runtime/uring_reactor.h"

namespace latte {

class RbdDevice final : public BlockDevice {
 public:
  RbdDevice(UringReactor& reactor, std::string name);
  ~RbdDevice() override;

  librbd::Image& image() { return image_; }
  /// The image was opened, or resized: takes its size. 0 or a negative errno. Before the reactor
  /// uses the device, or on it.
  int opened();
  /// Unless allowed, writes end in IoStatus::fenced. Any thread.
  void allow_writes(bool allowed) { writable_.store(allowed, std::memory_order_release); }
  /// Delivers no completion any more. After the reactor's end; then the image may be closed.
  void detach();

  const DeviceInfo& info() const override { return info_; }
  bool submit(IoRequest& request) override;
  void cancel_all() override;

 private:
  struct Operation {
    RbdDevice* device = nullptr;
    IoRequest* request = nullptr;  // null: given up, or not in use
    librbd::RBD::AioCompletion* completion = nullptr;
    ceph::bufferlist data;
    ssize_t result = 0;
    Operation* next = nullptr;
  };

  Operation& take_operation();
  int start(IoRequest& request, Operation& operation);
  void finish(Operation& operation);
  IoStatus status_of(const Operation& operation, const IoRequest& request) const;
  void push(Operation& operation);
  void drain();
  static void on_completion(librbd::completion_t completion, void* context);

  UringReactor& reactor_;
  DeviceInfo info_;
  librbd::Image image_;
  std::atomic<bool> writable_{false};
  std::vector<std::unique_ptr<Operation>> operations_;  // all that were ever under way at once
  std::vector<Operation*> idle_;
  std::atomic<Operation*> ended_{nullptr};  // pushed by librbd's threads, newest first
  std::atomic<bool> detached_{false};
  std::atomic<uint32_t> pushing_{0};
};

}  // namespace latte
