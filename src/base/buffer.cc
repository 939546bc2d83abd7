#include "base/buffer.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <vector>

#include "base/check.h"
#include "base/huge_chunks.h"

namespace latte {
namespace {

constexpr size_t kSmallestShift = 12;
constexpr size_t kClasses = std::countr_zero(kMaxPooledBytes) - kSmallestShift + 1;
static_assert(kBlockBytes == 1u << kSmallestShift);

/// Under AddressSanitizer all memory is the heap's, which it watches.
bool is_huge_piece([[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  return false;
#else
  return bytes >= kSmallestHugePiece && bytes <= kHugeChunkBytes;
#endif
}

void* take_memory(size_t bytes) {
  if (is_huge_piece(bytes)) return take_huge_piece(bytes);
  void* memory = std::aligned_alloc(kBlockBytes, bytes);
  LATTE_CHECK(memory != nullptr);
  return memory;
}

void return_memory(void* memory, size_t bytes) {
  if (is_huge_piece(bytes)) return return_huge_piece(memory, bytes);
  std::free(memory);
}

struct Pool {
  std::array<std::vector<void*>, kClasses> idle;
  ~Pool() {
    for (size_t i = 0; i < kClasses; ++i)
      for (void* memory : idle[i]) return_memory(memory, size_t{1} << (i + kSmallestShift));
  }
};

Pool& pool() {
  thread_local Pool instance;
  return instance;
}

size_t class_of(size_t bytes) {
  const size_t rounded = std::bit_ceil(bytes < kBlockBytes ? size_t{kBlockBytes} : bytes);
  return static_cast<size_t>(std::countr_zero(rounded)) - kSmallestShift;
}

}  // namespace

Buffer::Buffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const size_t size_class = class_of(bytes);
  if (size_class < kClasses) {
    auto& list = pool().idle[size_class];
    if (!list.empty()) {
      data_ = static_cast<std::byte*>(list.back());
      list.pop_back();
      return;
    }
  }
  data_ = static_cast<std::byte*>(take_memory(size_t{1} << (size_class + kSmallestShift)));
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  const size_t size_class = class_of(size_);
  if (size_class < kClasses) {
    auto& list = pool().idle[size_class];
    if ((list.size() + 1) << (size_class + kSmallestShift) <= kMaxIdleBytesPerClass) {
      list.push_back(data_);
      return;
    }
  }
  return_memory(data_, size_t{1} << (size_class + kSmallestShift));
}

}  // namespace latte
