// ShmBufferMemory: buffer memory in files of a memory file system (/dev/shm), each named after its
// id. What the kernel holds in such a file survives SIGKILL and goes with the power.
//
// Invariants: 1. The directory is on tmpfs, ramfs or hugetlbfs. Files elsewhere could come back
// from a disk after a crash of the machine, in part: worse than not at all.
// 2. A file is locked while it is used: a copy of a pool names the same one. 3. It is this user's
// and nobody else may write to it: in a directory that others can write to, others can make files.
#pragma once

#include <map>
#include <string>

#include "device/buffer_memory.h"
#include "device/unique_fd.h"

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
  Result<std::span<std::byte>> map(const Uuid& id, UniqueFd fd, size_t bytes);
  void unmap(const Uuid& id);

  const std::string directory_;
  struct Mapped {
    UniqueFd fd;  // holds the lock
    std::span<std::byte> memory;
  };
  std::map<Uuid, Mapped> mapped_;
};

}  // namespace latte
