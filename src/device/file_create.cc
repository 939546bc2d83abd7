#include "device/file_create.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/buffer.h"
#include "base/units.h"
#include "device/file_error.h"
#include "device/unique_fd.h"

namespace latte {
namespace {

constexpr size_t kPieceBytes = 4u << 20;

/// 0 or an errno.
int write_zeroes(int fd, uint64_t size_bytes, const CreateProgress& progress) {
  // Looks before it takes: filling the file system up would hurt everyone else on it.
  struct statvfs room {};
  if (::fstatvfs(fd, &room) == 0 && room.f_blocks != 0 &&
      room.f_bavail * room.f_frsize < size_bytes)
    return ENOSPC;
  // Asks for the space first: contiguous, and a full file system shows at once. Not everywhere
  // possible.
  if (::fallocate(fd, 0, 0, static_cast<off_t>(size_bytes)) != 0 && errno != EOPNOTSUPP)
    return errno;
  Buffer zeroes(kPieceBytes);
  std::memset(zeroes.data(), 0, zeroes.size());
  // Around the page cache where possible: a pool may be larger than memory.
  const int plain_flags = ::fcntl(fd, F_GETFL);
  bool direct = ::fcntl(fd, F_SETFL, plain_flags | O_DIRECT) == 0;
  for (uint64_t done = 0; done < size_bytes;) {
    const size_t piece = std::min<uint64_t>(kPieceBytes, size_bytes - done);
    if (direct && piece % kBlockBytes != 0) {
      ::fcntl(fd, F_SETFL, plain_flags);
      direct = false;
    }
    const ssize_t written = ::pwrite(fd, zeroes.data(), piece, static_cast<off_t>(done));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EINVAL && direct) {
      ::fcntl(fd, F_SETFL, plain_flags);
      direct = false;
      continue;
    }
    if (written < 0) return errno;
    if (written == 0) return EIO;
    done += static_cast<uint64_t>(written);
    if (progress) progress(done, size_bytes);
  }
  return 0;
}

}  // namespace

std::string directory_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

Result<void> sync_directory(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return file_error("open directory", path, errno);
  // Some network file systems can't sync directories; there the server does it.
  if (::fsync(fd.get()) != 0 && errno != EINVAL) return file_error("sync directory", path, errno);
  return {};
}

Result<void> create_file_exclusive(const std::string& path, uint64_t size_bytes,
                                   Preallocate preallocate, const CreateProgress& progress) {
  if (size_bytes == 0 || size_bytes % kSectorBytes != 0 || size_bytes > INT64_MAX)
    return Error{Errc::invalid,
                 fmt::format("cannot create {} with {} bytes; choose a multiple of {}", path,
                             size_bytes, kSectorBytes)};
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return file_error("create", path, errno);
  int error = ::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) == 0 ? 0 : errno;
  if (error == 0 && preallocate == Preallocate::yes)
    error = write_zeroes(fd.get(), size_bytes, progress);
  if (error == 0 && ::fsync(fd.get()) != 0) error = errno;
  if (error != 0) {
    ::unlink(path.c_str());
    return file_error(fmt::format("write the {} bytes of", size_bytes), path, error);
  }
  return sync_directory(directory_of(path));
}

}  // namespace latte
