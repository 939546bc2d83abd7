// Buffer: I/O memory aligned to kBlockBytes, recycled through a per-thread pool so that the I/O
// path does not allocate in steady state.
//
// Thread rule: a Buffer may be freed on any thread; it then joins that thread's pool.
// Limits: sizes are rounded up to a power of two; larger than kMaxPooledBytes goes to the heap.
// From 64 KiB to 2 MiB the memory is of huge pages where the system has them (huge_chunks.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/units.h"

namespace latte {

/// Largest size class kept in the pool, in bytes.
inline constexpr size_t kMaxPooledBytes = 4u << 20;
/// Most bytes a thread's pool keeps per size class; beyond it memory goes back.
inline constexpr size_t kMaxIdleBytesPerClass = 16u << 20;

/// Owns `size()` bytes aligned to kBlockBytes; contents are not initialised. Move only.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer();

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<std::byte> span() { return {data_, size_}; }
  std::span<const std::byte> span() const { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace latte
