#include "device/file_super.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/crc32c.h"
#include "device/file_create.h"
#include "device/file_error.h"
#include "device/unique_fd.h"

namespace latte {
namespace {

constexpr std::array<char, 8> kMagic{'L', 'T', 'F', 'S', 'U', 'P', 'E', 'R'};
constexpr size_t kGenerationAt = 8;
constexpr size_t kBytesAt = 16;
constexpr size_t kCrcAt = kBytesAt + kBlockBytes;
static_assert(kFileSuperBytes == kCrcAt + 4);

using Envelope = std::array<std::byte, kFileSuperBytes>;

void put_little_endian(std::byte* to, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) to[i] = static_cast<std::byte>(value >> (8 * i));
}

uint64_t get_little_endian(const std::byte* from, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value |= static_cast<uint64_t>(from[i]) << (8 * i);
  return value;
}

uint32_t crc_of(const Envelope& envelope) {
  return crc32c(std::span<const std::byte>(envelope.data(), kCrcAt));
}

Error damaged(const std::string& path, const std::string& what) {
  return Error{Errc::damaged,
               fmt::format("superblock {} is damaged: {}; restore it from a copy", path, what)};
}

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

Result<FileSuper> read_file_super(const std::string& directory) {
  const std::string path = directory + "/super";
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return file_error("open superblock", path, errno);
  std::array<std::byte, kFileSuperBytes + 1> raw{};  // one more, to notice a file that is too long
  const ssize_t got = ::pread(fd.get(), raw.data(), raw.size(), 0);
  if (got < 0) return file_error("read superblock", path, errno);
  if (got != static_cast<ssize_t>(kFileSuperBytes))
    return damaged(path, fmt::format("it has {}{} bytes instead of {}",
                                     got > static_cast<ssize_t>(kFileSuperBytes) ? "at least " : "",
                                     got, kFileSuperBytes));
  Envelope envelope;
  std::memcpy(envelope.data(), raw.data(), envelope.size());
  if (std::memcmp(envelope.data(), kMagic.data(), kMagic.size()) != 0)
    return damaged(path, "it does not begin with Latte's mark");
  const auto stored = static_cast<uint32_t>(get_little_endian(envelope.data() + kCrcAt, 4));
  const uint32_t computed = crc_of(envelope);
  if (stored != computed)
    return damaged(path, fmt::format("checksum {:08x}, stored {:08x}", computed, stored));
  FileSuper super;
  super.generation = get_little_endian(envelope.data() + kGenerationAt, 8);
  std::memcpy(super.bytes.data(), envelope.data() + kBytesAt, super.bytes.size());
  return super;
}

Result<void> write_file_super(const std::string& directory, const FileSuper& super) {
  Envelope envelope{};
  std::memcpy(envelope.data(), kMagic.data(), kMagic.size());
  put_little_endian(envelope.data() + kGenerationAt, super.generation, 8);
  std::memcpy(envelope.data() + kBytesAt, super.bytes.data(), super.bytes.size());
  put_little_endian(envelope.data() + kCrcAt, crc_of(envelope), 4);
  const std::string path = directory + "/super";
  const std::string fresh = path + ".new";
  const int error = write_durably(fresh, envelope);
  if (error != 0) return file_error("write superblock", fresh, error);
  if (::rename(fresh.c_str(), path.c_str()) != 0)
    return file_error("replace superblock", path, errno);
  return sync_directory(directory);
}

}  // namespace latte
