// HugeChunks: memory for large buffers, cut from chunks of 2 MiB that the kernel is asked to back
// with huge pages: a device request of 128 KiB then names one piece of memory instead of 32, and
// the kernel pins it with one look-up.
//
// Where huge pages are forbidden (or, in a container, not there) it is ordinary memory. Chunks are
// kept for good; the pages of pieces given back are returned to the system.
//
// Thread rule: any thread; calls are rare (see Buffer) and take a lock.
// Limits: pieces of kSmallestHugePiece to kHugeChunkBytes, powers of two.
#pragma once

#include <cstddef>

namespace latte {

inline constexpr size_t kHugeChunkBytes = 2u << 20;
inline constexpr size_t kSmallestHugePiece = 64u << 10;

/// `bytes` aligned to its own size; contents are undefined. Never null: the process ends where
/// there is no memory.
void* take_huge_piece(size_t bytes);
/// Gives a piece of that size back.
void return_huge_piece(void* piece, size_t bytes);

}  // namespace latte
