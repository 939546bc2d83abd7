// WriteBuffer: a filter that acknowledges short writes to a pool's device from memory that outlives
// the process (BufferMemory), and writes them to the device behind. A write then takes a copy
// instead of the device's time. It is to the device what a drive's own volatile cache is to the
// drive: a flush is what makes writes survive a loss of power.
//
// Invariants:
//  1. An acknowledged write is on the device or published in the memory. SIGKILL loses none; the
//     next recover() writes what is left in the memory to the device before anything reads it.
//  2. A flush first waits for all writes acknowledged before it, then flushes the device.
//  3. Reads see what is in the memory. A write that overlaps one in the memory waits for it.
//  4. The memory is used only while the mark on the device names it (write_buffer_format.h). So
//     neither an old memory is written over a newer device, nor is a device served without the
//     memory that belongs to it.
//  5. After an error of the device every later write and flush fails; what the device lacks stays
//     readable, and in the memory for the next recover().
// Thread rule: one reactor. Limits: kDepth writes to the device at a time, each of kMergeWrites
// neighbours and kMergeBytes at most.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "base/uuid.h"
#include "device/buffer_memory.h"
#include "device/buffer_ring.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"
#include "runtime/task.h"

namespace latte {

class WriteBuffer final : public BlockDevice {
 public:
  static constexpr size_t kDepth = 16;
  static constexpr size_t kMergeWrites = 32;
  static constexpr uint64_t kMergeBytes = 512u << 10;
  /// Longer writes go straight to the device: there a copy costs more than it gains.
  static constexpr uint64_t kMaxBufferedBytes = 72u << 10;

  enum class Access : uint8_t {
    read_write,
    read_only,  ///< what an earlier process left is shown, and nothing is changed
  };

  /// `below`, which nobody else writes to, and `memory` outlive this. Until begin() writes pass.
  WriteBuffer(Reactor& reactor, BlockDevice& below, BufferMemory& memory)
      : reactor_(reactor), below_(below), memory_(memory), progress_(reactor) {}

  /// First: what an earlier process left in the memory goes to the device (read-only: is shown).
  /// Without any the device is left as it is. Errors: busy (the memory that belongs to the
  /// device can't be had, and the machine may not have been restarted since), damaged, unsupported,
  /// io.
  Task<Result<void>> recover(Access access);
  /// Then, once the device is known to be a sound pool: from here on short writes are acknowledged
  /// from a memory of `size_bytes`, at least BufferRing::kMinBytes; 0: no buffer. Errors: no_space,
  /// io and others of BufferMemory::create().
  Task<Result<void>> begin(uint64_t size_bytes);
  /// Everything to the device, durably; then the mark says so and the memory is given back. Submit
  /// nothing any more. Error: io; the memory then stays for the next recover().
  Task<Result<void>> close();

  const DeviceInfo& info() const override { return below_.info(); }
  bool submit(IoRequest& request) override;
  size_t extents(uint64_t offset, uint64_t length, std::span<Extent> out) override {
    return below_.extents(offset, length, out);
  }

  uint64_t size_bytes() const { return ring_ ? ring_->data_bytes() : 0; }
  /// What the device lacks, or is being given.
  uint64_t used_bytes() const { return ring_ ? ring_->used_bytes() : 0; }

 private:
  Task<Result<void>> take_over_memory();
  Task<Result<void>> replay();
  Task<Result<void>> use_new_memory(uint64_t size_bytes);
  Task<Result<void>> mark_clean();

  bool submit_read(IoRequest& request);
  bool submit_write(IoRequest& request);
  Task<void> read_over(IoRequest& request);
  Task<void> after_overlap(IoRequest& request);
  Task<void> flush_all(IoRequest& request);
  Task<IoStatus> wait_written(uint64_t end_seq);
  void finish(IoRequest& request, IoStatus status);

  void write_behind();
  Task<void> write_run(uint64_t seq, size_t count);

  Reactor& reactor_;
  BlockDevice& below_;
  BufferMemory& memory_;
  std::optional<BufferRing> ring_;
  BufferMark mark_{};
  bool read_only_ = false;
  uint64_t next_to_write_ = 1;
  size_t writing_ = 0;  // runs on their way to the device
  IoStatus failure_ = IoStatus::ok;
  WaitQueue progress_;
};

}  // namespace latte
