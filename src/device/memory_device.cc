#include "device/memory_device.h"

#include <sys/mman.h>

#include <cstring>

#include "base/check.h"

namespace latte {
namespace {

/// From this size on zeroing gives the memory back instead of writing to it.
constexpr uint64_t kGiveBackBytes = 1u << 20;

}  // namespace

MemoryDevice::MemoryDevice(uint64_t size_bytes) {
  LATTE_CHECK(size_bytes > 0 && size_bytes % kSectorBytes == 0);
  void* memory = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  LATTE_CHECK(memory != MAP_FAILED);
  (void)::madvise(memory, size_bytes,
                  MADV_HUGEPAGE);  // random requests then miss fewer page entries
  data_ = static_cast<std::byte*>(memory);
  info_.name = "memory";
  info_.size_bytes = size_bytes;
  info_.can_fua = true;
  info_.can_discard = true;
  info_.volatile_cache = false;
}

MemoryDevice::~MemoryDevice() { ::munmap(data_, info_.size_bytes); }

bool MemoryDevice::submit(IoRequest& request) {
  request.status = IoStatus::ok;
  if (request.op == IoOp::flush) return false;
  const bool transfer = request.op == IoOp::read || request.op == IoOp::write;
  if (!range_within(request.offset, request.length, info_.size_bytes) ||
      (transfer && request.length > info_.max_request_bytes)) {
    request.status = IoStatus::invalid;
    return false;
  }
  std::byte* at = data_ + request.offset;
  if (!transfer) {
    const bool whole_pages = (request.offset | request.length) % kBlockBytes == 0;
    if (request.length < kGiveBackBytes || !whole_pages ||
        ::madvise(at, request.length, MADV_DONTNEED) != 0)
      std::memset(at, 0, request.length);
    return false;
  }
  const std::byte* end = at + request.length;
  for (uint32_t i = 0; i < request.iov_count; ++i) {
    const iovec& part = request.iov[i];
    LATTE_CHECK(part.iov_len <= static_cast<size_t>(end - at));
    if (request.op == IoOp::read) {
      std::memcpy(part.iov_base, at, part.iov_len);
    } else {
      std::memcpy(at, part.iov_base, part.iov_len);
    }
    at += part.iov_len;
  }
  LATTE_CHECK(at == end);
  return false;
}

}  // namespace latte
