#include "device/file_super.h"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "device/file_create.h"
#include "device/file_error.h"
#include "device/unique_fd.h"

namespace latte {
namespace {

/// 0 or an errno.
int write_durably(const std::string& path, const Envelope& envelope) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid()) return errno;
  const ssize_t written = ::pwrite(fd.get(), envelope.data(), envelope.size(), 0);
  if (written < 0) return errno;
  if (written != static_cast<ssize_t>(envelope.size())) return ENOSPC;
  return ::fsync(fd.get()) == 0 ? 0 : errno;
}

}  // namespace

Result<StoredSuper> read_file_super(const std::string& directory) {
  const std::string path = directory + "/super";
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return file_error("open superblock", path, errno);
  std::array<std::byte, kEnvelopeBytes + 1> raw{};  // one more, to notice a file that is too long
  const ssize_t got = ::pread(fd.get(), raw.data(), raw.size(), 0);
  if (got < 0) return file_error("read superblock", path, errno);
  return open_envelope(std::span(raw).first(static_cast<size_t>(got)), path);
}

Result<void> write_file_super(const std::string& directory, const StoredSuper& super) {
  const Envelope envelope = seal_envelope(super);
  const std::string path = directory + "/super";
  const std::string fresh = path + ".new";
  const int error = write_durably(fresh, envelope);
  if (error != 0) return file_error("write superblock", fresh, error);
  if (::rename(fresh.c_str(), path.c_str()) != 0)
    return file_error("replace superblock", path, errno);
  return sync_directory(directory);
}

}  // namespace latte
