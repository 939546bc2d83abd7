// Memory for coroutine frames, from per-thread free lists: no heap call per I/O in steady state.
#pragma once

#include <cstddef>

namespace latte {

/// Returns `bytes` of memory for a coroutine frame, aligned to 16.
void* allocate_frame(size_t bytes);
/// Takes back what allocate_frame(bytes) gave, on any thread.
void free_frame(void* frame, size_t bytes) noexcept;

}  // namespace latte
