// FencedFileDevice: a filter over a FileDevice that lets no write through once the volume's fence
// is above this process's generation, and lets a new owner wait until the old one's writes are out
// of the way.
//
// Protocol: a writer holds a shared flock on the data file while it has writes under way, and reads
// the fence after taking it and before each write. A new owner raises the fence and then takes the
// lock exclusively: whoever held it has finished, whoever takes it later sees the raised fence.
//
// The lock is taken through the very descriptor that the I/O uses, because a flock lives as long as
// its open file description and a request in the kernel keeps that alive: when a process is killed
// with a write on its way to the drive, the lock stays until the write is done. A lock on another
// file would not.
//
// Thread rule: one reactor. Limits: a refused lock is tried again every kRetryNs.
#pragma once

#include <cstdint>

#include "device/file_device.h"
#include "device/file_fence.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"
#include "runtime/task.h"

namespace latte {

class FencedFileDevice final : public BlockDevice {
 public:
  static constexpr TimeNs kRetryNs = kMillisecond;

  /// `below` and `fence` outlive this.
  FencedFileDevice(Reactor& reactor, FileDevice& below, const FileFence& fence)
      : reactor_(reactor), below_(below), fence_(fence) {}

  const DeviceInfo& info() const override { return below_.info(); }
  bool submit(IoRequest& request) override;

  /// Holds back new writes while this process itself takes a new generation: until then they would
  /// be fenced by their own process. May be nested.
  void pause() { ++paused_; }
  void resume();
  uint64_t writes_under_way() const { return under_way_; }

 private:
  struct Leave;
  enum class Entry { open, wait, failed };
  Entry enter();
  void leave();
  Task<void> run_write(IoRequest& request);

  Reactor& reactor_;
  FileDevice& below_;
  const FileFence& fence_;
  uint64_t under_way_ = 0;  // the lock is held while this is above 0
  uint32_t paused_ = 0;
};

}  // namespace latte
