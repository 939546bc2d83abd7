// Counts what the hot path must not do: heap allocations and locks, by taking the place of malloc
// and its kin and of the pthread locks in this program. Everything goes on to the real ones.
//
// Thread rule: each thread counts for itself.
// Limits: glibc only. Locks that never leave user code (spinning on an atomic) are not seen.
#pragma once

#include <cstdint>

namespace latte::bench {

struct CountedCalls {
  uint64_t allocations = 0;  ///< malloc, calloc, realloc, aligned_alloc, posix_memalign, new
  uint64_t locks = 0;        ///< pthread mutexes and reader-writer locks taken or tried
};

/// Of this thread since it began.
CountedCalls counted_calls();

}  // namespace latte::bench
