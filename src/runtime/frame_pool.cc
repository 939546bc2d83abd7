#include "runtime/frame_pool.h"

#include <array>
#include <new>

namespace latte {
namespace {

constexpr size_t kGranule = 64;
constexpr size_t kClasses = 64;  // frames up to 4 KiB are pooled
constexpr size_t kMaxIdlePerClass = 4096;

struct FreeFrame {
  FreeFrame* next;
};

struct FramePool {
  std::array<FreeFrame*, kClasses> head{};
  std::array<size_t, kClasses> count{};
  ~FramePool() {
    for (FreeFrame* frame : head) {
      while (frame != nullptr) {
        FreeFrame* next = frame->next;
        ::operator delete(frame);
        frame = next;
      }
    }
  }
};

FramePool& pool() {
  thread_local FramePool instance;
  return instance;
}

}  // namespace

void* allocate_frame(size_t bytes) {
  const size_t size_class = (bytes + kGranule - 1) / kGranule;
  if (size_class >= kClasses) return ::operator new(bytes);
  FramePool& frames = pool();
  FreeFrame* frame = frames.head[size_class];
  if (frame == nullptr) return ::operator new(size_class* kGranule);
  frames.head[size_class] = frame->next;
  --frames.count[size_class];
  return frame;
}

void free_frame(void* memory, size_t bytes) noexcept {
  const size_t size_class = (bytes + kGranule - 1) / kGranule;
  FramePool& frames = pool();
  if (size_class >= kClasses || frames.count[size_class] >= kMaxIdlePerClass) {
    ::operator delete(memory);
    return;
  }
  auto* frame = static_cast<FreeFrame*>(memory);
  frame->next = frames.head[size_class];
  frames.head[size_class] = frame;
  ++frames.count[size_class];
}

}  // namespace latte
