// Memory for coroutine frames and other small state of an I/O, from per-thread free lists: no heap
// call per I/O in steady state.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace latte {

/// Returns `bytes` of memory for a coroutine frame, aligned to 16.
void* allocate_frame(size_t bytes);
/// Takes back what allocate_frame(bytes) gave, on any thread.
void free_frame(void* frame, size_t bytes) noexcept;

/// The same lists for std::allocate_shared().
template <typename T>
struct FrameAllocator {
  using value_type = T;
  FrameAllocator() = default;
  template <typename U>
  explicit FrameAllocator(const FrameAllocator<U>& /*other*/) {}
  T* allocate(size_t count) {
    static_assert(alignof(T) <= 16);
    return static_cast<T*>(allocate_frame(count * sizeof(T)));
  }
  void deallocate(T* memory, size_t count) noexcept { free_frame(memory, count * sizeof(T)); }
  bool operator==(const FrameAllocator& /*other*/) const { return true; }
};

/// std::make_shared() without a heap call in steady state.
template <typename T, typename... Args>
std::shared_ptr<T> make_pooled(Args&&... args) {
  return std::allocate_shared<T>(FrameAllocator<T>(), std::forward<Args>(args)...);
}

}  // namespace latte
