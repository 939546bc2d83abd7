#include "device/file_fence.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

#include "base/check.h"
#include "device/file_error.h"

namespace latte {
namespace {

using FenceBytes = std::array<uint8_t, 8>;  // little-endian

FenceBytes encode(uint64_t generation) {
  FenceBytes bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(generation >> (8 * i));
  return bytes;
}

uint64_t decode(const FenceBytes& bytes) {
  uint64_t generation = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    generation |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return generation;
}

/// 0 or an errno.
int write_generation(int fd, uint64_t generation) {
  const FenceBytes bytes = encode(generation);
  const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), 0);
  if (written < 0) return errno;
  if (written != static_cast<ssize_t>(bytes.size())) return EIO;
  return ::fsync(fd) == 0 ? 0 : errno;
}

}  // namespace

Result<void> FileFence::create(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return file_error("create", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return file_error("look at", path, errno);
  // Empty: new, or left by who was interrupted before its first byte, so nobody ever owned it.
  if (info.st_size > 0) return {};
  const int error = write_generation(fd.get(), 0);
  if (error != 0) return file_error("write", path, error);
  return {};
}

Result<std::unique_ptr<FileFence>> FileFence::open(const std::string& path, bool read_only) {
  UniqueFd fd(::open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!fd.valid()) return file_error("open", path, errno);
  std::unique_ptr<FileFence> fence(new FileFence(path, std::move(fd)));
  const Result<uint64_t> generation = fence->read();
  if (!generation) return generation.error();
  return fence;
}

Result<uint64_t> FileFence::read() const {
  FenceBytes bytes{};
  const ssize_t got = ::pread(fd_.get(), bytes.data(), bytes.size(), 0);
  if (got < 0) return file_error("read", path_, errno);
  if (got != static_cast<ssize_t>(bytes.size()))
    return Error{Errc::damaged, fmt::format("{} has {} bytes instead of {}; restore it with the "
                                            "volume's current generation (see `latte check`)",
                                            path_, got, bytes.size())};
  return decode(bytes);
}

Result<void> FileFence::raise(uint64_t generation) {
  const Result<uint64_t> current = read();
  if (!current) return current.error();
  LATTE_CHECK(generation > current.value());
  const int error = write_generation(fd_.get(), generation);
  if (error != 0) return file_error("write", path_, error);
  return {};
}

IoStatus FileFence::check() const {
  FenceBytes bytes{};
  if (::pread(fd_.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return IoStatus::io_error;
  return decode(bytes) > own_generation_ ? IoStatus::fenced : IoStatus::ok;
}

}  // namespace latte
