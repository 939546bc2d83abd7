// MemoryDevice: a BlockDevice in memory, for tests and benchmarks. Every request completes inside
// submit().
//
// Thread rule: one reactor. Limits: memory is taken as it is written.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/block_device.h"

namespace latte {

class MemoryDevice final : public BlockDevice {
 public:
  /// `size_bytes`: multiple of kSectorBytes, above 0.
  explicit MemoryDevice(uint64_t size_bytes);
  ~MemoryDevice() override;

  const DeviceInfo& info() const override { return info_; }
  bool submit(IoRequest& request) override;
  /// The contents, for tests.
  std::byte* data() { return data_; }

 private:
  DeviceInfo info_;
  std::byte* data_ = nullptr;
};

}  // namespace latte
