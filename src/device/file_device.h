// FileDevice: a regular file or a block device as a BlockDevice, through the reactor's io_uring.
// Around the page cache (O_DIRECT) where the file system allows it, else through it.
//
// Invariants:
//  1. The size is fixed at open. A read that finds the file shorter is an I/O error, never zeroes.
//  2. Short transfers are continued; a request completes once, wholly done or failed.
//  3. A discarded or zeroed range reads as zeroes, also where the file system can't punch holes:
//     then zeroes are written in pieces of at most kZeroPieceBytes.
// Thread rule: one reactor. Destroy it only when no request is under way (or after
// UringReactor::shutdown()). Limits: reads and writes up to info().max_request_bytes; memory for a
// request's state grows to the most ever under way together and is then reused.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/unique_fd.h"
#include "runtime/block_device.h"
#include "runtime/uring_reactor.h"

namespace latte {

class FileDevice final : public BlockDevice {
 public:
  static constexpr size_t kZeroPieceBytes = 256u << 10;

  struct Options {
    std::string path{};
    bool read_only = false;            ///< writes are refused as invalid
    bool direct = true;                ///< try O_DIRECT
    uint64_t expected_size_bytes = 0;  ///< refuse any other size; 0 = any
  };

  /// Opens an existing file. Blocks. Errors: not_found, invalid (kind of file, size), busy, io.
  static Result<std::unique_ptr<FileDevice>> open(UringReactor& reactor, Options options);
  ~FileDevice() override;

  const DeviceInfo& info() const override { return info_; }
  bool submit(IoRequest& request) override;

  /// Keeps other processes that ask the same from using the file, until this device is gone.
  /// Errors: busy (names the holder), io.
  Result<void> lock_exclusive();
  /// Makes a regular file at least so long, durably; blocks. Errors: unsupported (a block device),
  /// no_space, io.
  Result<void> grow(uint64_t size_bytes);
  /// True if the page cache is passed by.
  bool direct() const { return direct_; }
  int fd() const { return fd_.get(); }

 private:
  /// How a range is made to read as zeroes.
  enum class ZeroMethod : uint8_t { punch_hole, zero_range, write };
  /// A request under way.
  struct Slot : UringOp {
    FileDevice* device = nullptr;
    IoRequest* request = nullptr;
    uint64_t done_bytes = 0;
    uint32_t passing_errors = 0;
    ZeroMethod method = ZeroMethod::write;
    bool syncing = false;
    iovec zeroes{};
    std::vector<iovec> rest;  // what is left of a request that took more than one operation
    Slot* next_free = nullptr;
  };

  FileDevice(UringReactor& reactor, UniqueFd fd, bool direct, bool read_only, DeviceInfo info);
  IoStatus validate(const IoRequest& request) const;
  Slot& take_slot();
  void start(Slot& slot);
  void start_transfer(Slot& slot);
  void start_zeroing(Slot& slot);
  void start_sync(Slot& slot);
  void submit_vector(Slot& slot, bool is_read, const iovec* iov, uint32_t count, bool fua);
  ZeroMethod method_for(IoOp op) const;
  static void on_complete(UringOp* op, int result);
  void advance(Slot& slot, uint64_t bytes);
  void handle_error(Slot& slot, int result);
  void finish(Slot& slot, IoStatus status);

  UringReactor& reactor_;
  UniqueFd fd_;
  bool direct_;
  bool read_only_;
  DeviceInfo info_;
  bool can_punch_ = true;
  bool can_zero_range_ = true;
  std::deque<Slot> slots_;
  Slot* free_slots_ = nullptr;
};

}  // namespace latte
