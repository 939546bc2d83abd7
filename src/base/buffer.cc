#include "base/buffer.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <vector>

#include "base/check.h"

namespace latte {
namespace {

constexpr size_t kSmallestShift = 12;
constexpr size_t kClasses = std::countr_zero(kMaxPooledBytes) - kSmallestShift + 1;
static_assert(kBlockBytes == 1u << kSmallestShift);

struct Pool {
  std::array<std::vector<void*>, kClasses> idle;
  ~Pool() {
    for (auto& list : idle)
      for (void* memory : list) std::free(memory);
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
  data_ = static_cast<std::byte*>(
      std::aligned_alloc(kBlockBytes, size_t{1} << (size_class + kSmallestShift)));
  LATTE_CHECK(data_ != nullptr);
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
  std::free(data_);
}

}  // namespace latte
