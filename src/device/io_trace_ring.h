// IoTraceRing: the requests that a device got, on their way from its reactor to a thread that
// writes them down. The reactor never waits: what finds no room is counted as lost.
//
// Thread rule: add() on one reactor, take() on one other thread; lost() on any.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "runtime/block_device.h"

namespace latte {

/// One request as it was submitted.
struct TracedIo {
  TimeNs time_ns = 0;  ///< Reactor::now()
  uint64_t offset = 0;
  uint64_t length = 0;
  IoOp op = IoOp::read;
};

class IoTraceRing {
 public:
  /// Room for what comes between two take()s: 2 MiB of memory.
  static constexpr size_t kSlots = 1u << 16;

  void add(const TracedIo& io) {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_.load(std::memory_order_acquire) == kSlots) {
      lost_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    slots_[head % kSlots] = io;
    head_.store(head + 1, std::memory_order_release);
  }
  /// Appends everything that is there to `out`.
  void take(std::vector<TracedIo>& out) {
    const uint64_t head = head_.load(std::memory_order_acquire);
    uint64_t tail = tail_.load(std::memory_order_relaxed);
    for (; tail != head; ++tail) out.push_back(slots_[tail % kSlots]);
    tail_.store(tail, std::memory_order_release);
  }
  /// Requests that found no room.
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  std::vector<TracedIo> slots_ = std::vector<TracedIo>(kSlots);
  alignas(64) std::atomic<uint64_t> head_{0};
  alignas(64) std::atomic<uint64_t> tail_{0};
  std::atomic<uint64_t> lost_{0};
};

}  // namespace latte
