// ReceiveBuffer: bytes received and not yet parsed, in one piece of memory.
//
// Invariants:
//  1. readable() is one contiguous span; writable() is the room behind it.
//  2. Moving bytes to the front happens only in writable(), so spans from readable() live until
//     then.
// Thread rule: one owner. Limits: its capacity, fixed at construction.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "base/buffer.h"
#include "base/check.h"

namespace latte {

class ReceiveBuffer {
 public:
  explicit ReceiveBuffer(size_t capacity_bytes) : memory_(capacity_bytes) {}

  std::span<const std::byte> readable() const { return {memory_.data() + begin_, end_ - begin_}; }
  size_t size() const { return end_ - begin_; }
  void consume(size_t bytes) {
    LATTE_CHECK(bytes <= size());
    begin_ += bytes;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  /// Copies as much as there is and fits into `out`; returns how much.
  size_t take(std::span<std::byte> out) {
    const size_t bytes = std::min(out.size(), size());
    if (bytes > 0) std::memcpy(out.data(), memory_.data() + begin_, bytes);
    consume(bytes);
    return bytes;
  }
  /// Room for at most `limit` more bytes; not empty unless the buffer is full.
  std::span<std::byte> writable(size_t limit) {
    // What is left over is the beginning of a message, some bytes of 256 KiB: cheap to move.
    if (begin_ > 0) std::memmove(memory_.data(), memory_.data() + begin_, size());
    end_ -= begin_;
    begin_ = 0;
    return memory_.span().subspan(end_, std::min(limit, memory_.size() - end_));
  }
  /// `bytes` of what writable() returned are filled.
  void commit(size_t bytes) {
    LATTE_CHECK(bytes <= memory_.size() - end_);
    end_ += bytes;
  }

 private:
  Buffer memory_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace latte
