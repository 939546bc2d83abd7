// ShmBufferMemory: buffer memory in files of a memory file system (/dev/shm), each named after its
// id. What the kernel holds in such a file survives SIGKILL and goes with the power.
//
// Invariant: the directory is on tmpfs, ramfs or hugetlbfs. Files elsewhere could come back from a
// disk after a crash of the machine, in part: worse than not at all.
#pragma once

#include <map>
#include <string>

#include "device/buffer_memory.h"

namespace latte {

class ShmBufferMemory final : public BufferMemory {
 public:
  explicit ShmBufferMemory(std::string directory) : directory_(std::move(directory)) {}
  ~ShmBufferMemory() override;
  ShmBufferMemory(const ShmBufferMemory&) = delete;
  ShmBufferMemory& operator=(const ShmBufferMemory&) = delete;

  Result<std::span<std::byte>> open(const Uuid& id) override;
  Result<std::span<std::byte>> create(const Uuid& id, size_t bytes) override;
  void remove(const Uuid& id) override;
  std::string name(const Uuid& id) const override;

 private:
  Result<void> check_directory() const;
  Result<std::span<std::byte>> map(const Uuid& id, int fd, size_t bytes);
  void unmap(const Uuid& id);

  const std::string directory_;
  std::map<Uuid, std::span<std::byte>> mapped_;
};

}  // namespace latte
