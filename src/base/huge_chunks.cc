#include "base/huge_chunks.h"

#include <sys/mman.h>

#include <array>
#include <bit>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/check.h"

namespace latte {
namespace {

constexpr size_t kPieceClasses = std::countr_zero(kHugeChunkBytes / kSmallestHugePiece) + 1;

struct Pieces {
  std::mutex lock;
  std::array<std::vector<void*>, kPieceClasses> idle;
};

/// Never destroyed: threads that end late still give buffers back.
Pieces& pieces() {
  static Pieces& instance = *new Pieces;
  return instance;
}

std::byte* map_chunk() {
  // Twice as much holds an aligned one.
  void* memory = ::mmap(nullptr, 2 * kHugeChunkBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  LATTE_CHECK(memory != MAP_FAILED);
  auto* begin = static_cast<std::byte*>(memory);
  const size_t skip = -reinterpret_cast<uintptr_t>(begin) % kHugeChunkBytes;
  if (skip > 0) (void)::munmap(begin, skip);
  std::byte* chunk = begin + skip;
  (void)::munmap(chunk + kHugeChunkBytes, kHugeChunkBytes - skip);
  (void)::madvise(chunk, kHugeChunkBytes, MADV_HUGEPAGE);  // small pages serve as well
  return chunk;
}

}  // namespace

void* take_huge_piece(size_t bytes) {
  LATTE_CHECK(std::has_single_bit(bytes) && bytes >= kSmallestHugePiece &&
              bytes <= kHugeChunkBytes);
  Pieces& all = pieces();
  const std::lock_guard guard(all.lock);
  auto& idle = all.idle[static_cast<size_t>(std::countr_zero(bytes / kSmallestHugePiece))];
  if (idle.empty()) {
    std::byte* chunk = map_chunk();
    for (size_t at = kHugeChunkBytes; at > 0; at -= bytes) idle.push_back(chunk + at - bytes);
  }
  void* piece = idle.back();
  idle.pop_back();
  return piece;
}

void return_huge_piece(void* piece, size_t bytes) {
  (void)::madvise(piece, bytes, MADV_DONTNEED);
  Pieces& all = pieces();
  const std::lock_guard guard(all.lock);
  all.idle[static_cast<size_t>(std::countr_zero(bytes / kSmallestHugePiece))].push_back(piece);
}

}  // namespace latte
