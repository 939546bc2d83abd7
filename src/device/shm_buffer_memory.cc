#include "device/shm_buffer_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "device/file_error.h"
#include "device/file_lock.h"

namespace latte {
namespace {

/// Larger files are none of ours.
constexpr off_t kMaxBytes = off_t{2} << 30;

}  // namespace

Result<void> ShmBufferMemory::check_directory() const {
  struct statfs info {};
  if (::statfs(directory_.c_str(), &info) != 0) return file_error("look at", directory_, errno);
  const auto type = static_cast<unsigned long>(info.f_type);
  if (type != TMPFS_MAGIC && type != RAMFS_MAGIC && type != HUGETLBFS_MAGIC)
    return Error{Errc::invalid,
                 fmt::format("{} is not on a memory file system; name a directory that is, such as "
                             "/dev/shm",
                             directory_)};
  return {};
}

ShmBufferMemory::~ShmBufferMemory() {
  for (const auto& [id, mapped] : mapped_) ::munmap(mapped.memory.data(), mapped.memory.size());
}

std::string ShmBufferMemory::name(const Uuid& id) const {
  return fmt::format("{}/latte-{}", directory_, id.to_string());
}

Result<std::span<std::byte>> ShmBufferMemory::map(const Uuid& id, UniqueFd fd, size_t bytes) {
  const Result<void> locked = lock_exclusive(fd.get(), name(id));
  if (!locked) return locked.error();
  void* memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd.get(), 0);
  if (memory == MAP_FAILED) return file_error("map", name(id), errno);
  const std::span<std::byte> span(static_cast<std::byte*>(memory), bytes);
  mapped_[id] = Mapped{std::move(fd), span};
  return span;
}

void ShmBufferMemory::unmap(const Uuid& id) {
  const auto found = mapped_.find(id);
  if (found == mapped_.end()) return;
  ::munmap(found->second.memory.data(), found->second.memory.size());
  mapped_.erase(found);
}

Result<std::span<std::byte>> ShmBufferMemory::open(const Uuid& id) {
  const Result<void> checked = check_directory();
  if (!checked) return checked.error();
  const std::string path = name(id);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid() && errno == ENOENT) return Error{Errc::not_found, path + " is not there"};
  if (!fd.valid()) return file_error("open", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return file_error("look at", path, errno);
  const bool ours = S_ISREG(info.st_mode) && info.st_uid == ::geteuid() && info.st_nlink == 1 &&
                    (info.st_mode & (S_IWGRP | S_IWOTH)) == 0;
  if (!ours || info.st_size <= 0 || info.st_size > kMaxBytes)
    return Error{Errc::damaged, path + " is not a file that a write buffer of this user left"};
  return map(id, std::move(fd), static_cast<size_t>(info.st_size));
}

Result<std::span<std::byte>> ShmBufferMemory::create(const Uuid& id, size_t bytes) {
  const Result<void> checked = check_directory();
  if (!checked) return checked.error();
  const std::string path = name(id);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return file_error("create", path, errno);
  // Allocated in full: a store into a full file system would be a SIGBUS.
  const int failed = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes));
  if (failed != 0) {
    ::unlink(path.c_str());
    return file_error("allocate", path, failed);
  }
  auto mapped = map(id, std::move(fd), bytes);
  if (!mapped) ::unlink(path.c_str());
  return mapped;
}

void ShmBufferMemory::remove(const Uuid& id) {
  unmap(id);
  ::unlink(name(id).c_str());
}

}  // namespace latte
