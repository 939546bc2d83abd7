// Loads and stores of what two sides share: each happens once, as written, and in order where the
// name says so. Little-endian machines only: ring fields are little-endian.
// Thread rule: any. Limits: none.
#pragma once

// The kernel's header has the specification's flags; its helpers are C and no C++.
#define VIRTIO_RING_NO_LEGACY
#include <linux/virtio_ring.h>

#include <bit>
#include <cstdint>

namespace latte::vhost {

static_assert(std::endian::native == std::endian::little);

/// One load of a field that the other side may change at any time.
template <typename T>
T load_once(const T* field) {
  return __atomic_load_n(field, __ATOMIC_RELAXED);
}
/// The same, and later accesses come after it.
template <typename T>
T load_acquire(const T* field) {
  return __atomic_load_n(field, __ATOMIC_ACQUIRE);
}
template <typename T>
void store_once(T* field, T value) {
  __atomic_store_n(field, value, __ATOMIC_RELAXED);
}
/// The same, and earlier accesses come before it.
template <typename T>
void store_release(T* field, T value) {
  __atomic_store_n(field, value, __ATOMIC_RELEASE);
}
/// Between a store of ours and a load of theirs that must not overtake it.
inline void full_fence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/// Is it there, and aligned to `alignment` bytes?
inline bool present_and_aligned(const void* pointer, uintptr_t alignment) {
  return pointer != nullptr && reinterpret_cast<uintptr_t>(pointer) % alignment == 0;
}

/// Event index: was `event` passed by the step from `before` to `now`? (Virtio 1.x, "Used Buffer
/// Notification Suppression".)
constexpr bool event_passed(uint16_t event, uint16_t now, uint16_t before) {
  return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

}  // namespace latte::vhost
