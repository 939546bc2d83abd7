// BlockDevice: the one interface for everything that stores blocks - files, memory, simulated
// drives, cloud volumes, and a HybridDisk itself, so that any front end can serve any of them and
// devices stack.
//
// Thread rule: a device belongs to one reactor; submit() and completions happen there.
// Ordering rule: none between requests under way together. A flush covers the writes that had
// completed when it was submitted, and no others.
#pragma once

#include <sys/uio.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/intrusive_list.h"
#include "base/io_status.h"
#include "base/units.h"
#include "runtime/reactor.h"

namespace latte {

enum class IoOp : uint8_t {
  read,
  write,
  flush,         ///< everything completed before becomes durable
  discard,       ///< the range reads as zeroes afterwards and may give its space back
  write_zeroes,  ///< the range reads as zeroes afterwards
};

/// What a device can do and what it asks of requests.
struct DeviceInfo {
  std::string name;                        ///< for logs and errors
  uint64_t size_bytes = 0;                 ///< multiple of kSectorBytes
  uint32_t alignment_bytes = 1;            ///< of offsets, lengths and memory
  uint64_t max_request_bytes = 32u << 20;  ///< longest read or write in one request
  bool can_fua = false;                    ///< writes honour IoRequest::fua themselves
  bool can_discard = false;    ///< discard and write_zeroes are cheap (no data transfer)
  bool volatile_cache = true;  ///< completed writes need a flush to survive power loss
  /// The memory of a write must not change while it is under way (checksums are taken of it). Who
  /// serves memory that others can change, as a guest's is, then copies it first.
  bool stable_writes = false;
};

/// One I/O, owned by the submitter and alive until its completion. No allocation: it usually lives
/// in a coroutine frame.
struct IoRequest : ListNode {
  IoOp op = IoOp::read;
  bool fua = false;         ///< write, discard, write_zeroes: durable before completion
  bool background = false;  ///< a read that no client waits for: behind others where it is scarce
  IoStatus status = IoStatus::ok;
  uint64_t offset = 0;         ///< bytes
  uint64_t length = 0;         ///< bytes; for reads and writes the sum of the iovecs
  const iovec* iov = nullptr;  ///< reads and writes; alive until completion
  uint32_t iov_count = 0;
  std::coroutine_handle<> waiter;  ///< scheduled on completion
  void* device_private = nullptr;  ///< the device's while the request is with it
  uint64_t device_number = 0;      ///< likewise

  /// Asks for what `other` asks for, with its memory, at `at` instead.
  void ask_as(const IoRequest& other, uint64_t at) {
    op = other.op;
    fua = other.fua;
    background = other.background;
    offset = at;
    length = other.length;
    iov = other.iov;
    iov_count = other.iov_count;
  }
};

/// A run of blocks and whether they hold data.
struct Extent {
  uint64_t length = 0;  ///< bytes
  bool hole = false;    ///< no space is used
  bool zero = false;    ///< reads as zeroes
};

class BlockDevice {
 public:
  virtual ~BlockDevice() = default;
  virtual const DeviceInfo& info() const = 0;

  /// Starts `request`. Returns true if it is under way: the device will set `status` and schedule
  /// `waiter`. Returns false if it completed at once with `status` set; `waiter` is then not used.
  virtual bool submit(IoRequest& request) = 0;

  /// Ends what is under way with IoStatus::stopped, whatever becomes of it below; its memory is the
  /// submitters' again. For devices that can wait for ever; the others end by themselves.
  virtual void cancel_all() {}

  /// Describes [offset, offset + length), from the front, in at most `out.size()` extents; returns
  /// how many. What is not known counts as data. Does no I/O.
  virtual size_t extents(uint64_t offset, uint64_t length, std::span<Extent> out) {
    (void)offset;
    if (out.empty()) return 0;
    out[0] = Extent{length, false, false};
    return 1;
  }

  /// `IoStatus s = co_await device.io(request)`.
  struct Awaiter {
    BlockDevice& device;
    IoRequest& request;
    bool await_ready() const { return false; }
    bool await_suspend(std::coroutine_handle<> waiter) {
      request.waiter = waiter;
      return device.submit(request);
    }
    IoStatus await_resume() const { return request.status; }
  };
  Awaiter io(IoRequest& request) { return Awaiter{*this, request}; }

  /// The request and its single iovec in one awaitable.
  struct SimpleIo {
    BlockDevice& device;
    iovec vector;
    IoRequest request;

    SimpleIo(BlockDevice& target, IoOp op, uint64_t offset, void* data, uint64_t length, bool fua,
             bool background = false)
        : device(target), vector{data, static_cast<size_t>(length)} {
      request.op = op;
      request.fua = fua;
      request.background = background;
      request.offset = offset;
      request.length = length;
      request.iov = &vector;
      request.iov_count = data == nullptr ? 0 : 1;
    }
    bool await_ready() const { return false; }
    bool await_suspend(std::coroutine_handle<> waiter) {
      request.waiter = waiter;
      return device.submit(request);
    }
    IoStatus await_resume() const { return request.status; }
  };
  SimpleIo read(uint64_t offset, std::span<std::byte> data) {
    return SimpleIo(*this, IoOp::read, offset, data.data(), data.size(), false);
  }
  /// A read that no client waits for.
  SimpleIo background_read(uint64_t offset, std::span<std::byte> data) {
    return SimpleIo(*this, IoOp::read, offset, data.data(), data.size(), false, true);
  }
  SimpleIo write(uint64_t offset, std::span<const std::byte> data, bool fua = false) {
    return SimpleIo(*this, IoOp::write, offset, const_cast<std::byte*>(data.data()), data.size(),
                    fua);
  }
  SimpleIo flush() { return SimpleIo(*this, IoOp::flush, 0, nullptr, 0, false); }
  SimpleIo discard(uint64_t offset, uint64_t length) {
    return SimpleIo(*this, IoOp::discard, offset, nullptr, length, false);
  }
  SimpleIo write_zeroes(uint64_t offset, uint64_t length) {
    return SimpleIo(*this, IoOp::write_zeroes, offset, nullptr, length, false);
  }
};

/// True if [offset, offset + length) lies within `size_bytes`, without overflow.
constexpr bool range_within(uint64_t offset, uint64_t length, uint64_t size_bytes) {
  return offset <= size_bytes && length <= size_bytes - offset;
}

}  // namespace latte
