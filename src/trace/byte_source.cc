#include "trace/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "trace/unpack.h"

namespace latte::trace {
namespace {

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::span<const char> bytes) : bytes_(bytes) {}
  Result<size_t> read(std::span<char> out) override {
    const size_t count = std::min(out.size(), bytes_.size() - at_);
    if (count > 0) std::memcpy(out.data(), bytes_.data() + at_, count);
    at_ += count;
    return count;
  }
  uint64_t consumed_bytes() const override { return at_; }
  uint64_t total_bytes() const override { return bytes_.size(); }

 private:
  std::span<const char> bytes_;
  size_t at_ = 0;
};

class FileSource final : public ByteSource {
 public:
  FileSource(int fd, std::string path, uint64_t total_bytes)
      : fd_(fd), path_(std::move(path)), total_bytes_(total_bytes) {}
  ~FileSource() override { ::close(fd_); }
  Result<size_t> read(std::span<char> out) override {
    ssize_t got = 0;
    do got = ::read(fd_, out.data(), out.size());
    while (got < 0 && errno == EINTR);
    if (got < 0)
      return Error{Errc::io, fmt::format("{}: reading at byte {} failed: {}", path_, at_,
                                         std::strerror(errno))};
    at_ += static_cast<uint64_t>(got);
    return static_cast<size_t>(got);
  }
  uint64_t consumed_bytes() const override { return at_; }
  uint64_t total_bytes() const override { return total_bytes_; }

 private:
  int fd_;
  std::string path_;
  uint64_t total_bytes_;
  uint64_t at_ = 0;
};

/// Gives the bytes that were looked at first, then those of the source itself.
class PeekedSource final : public ByteSource {
 public:
  explicit PeekedSource(std::unique_ptr<ByteSource> below) : below_(std::move(below)) {}
  /// Up to sizeof(head_) first bytes.
  Result<std::span<const char>> peek() {
    while (size_ < sizeof(head_)) {
      auto got = below_->read({head_ + size_, sizeof(head_) - size_});
      if (!got) return got.error();
      if (got.value() == 0) break;
      size_ += got.value();
    }
    return std::span<const char>(head_, size_);
  }
  Result<size_t> read(std::span<char> out) override {
    if (at_ == size_) return below_->read(out);
    const size_t count = std::min(out.size(), size_ - at_);
    std::memcpy(out.data(), head_ + at_, count);
    at_ += count;
    return count;
  }
  uint64_t consumed_bytes() const override { return below_->consumed_bytes(); }
  uint64_t total_bytes() const override { return below_->total_bytes(); }

 private:
  std::unique_ptr<ByteSource> below_;
  char head_[sizeof(kZstdMagic)];
  size_t size_ = 0;
  size_t at_ = 0;
};

bool starts_with(std::span<const char> head, std::span<const unsigned char> magic) {
  return head.size() >= magic.size() && std::memcmp(head.data(), magic.data(), magic.size()) == 0;
}

Result<std::unique_ptr<ByteSource>> unpacked(std::unique_ptr<ByteSource> raw, std::string name) {
  auto peeked = std::make_unique<PeekedSource>(std::move(raw));
  const auto head = peeked->peek();
  if (!head) return head.error();
  if (starts_with(head.value(), kZstdMagic)) return unpack_zstd(std::move(peeked), std::move(name));
  if (starts_with(head.value(), kGzipMagic)) return unpack_gzip(std::move(peeked), std::move(name));
  return std::unique_ptr<ByteSource>(std::move(peeked));
}

}  // namespace

Result<std::unique_ptr<ByteSource>> open_byte_source(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return Error{errno == ENOENT ? Errc::not_found : Errc::io,
                 fmt::format("trace {}: can't be opened: {}", path, std::strerror(errno))};
  struct stat status {};
  const bool sized = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  return unpacked(
      std::make_unique<FileSource>(fd, path, sized ? static_cast<uint64_t>(status.st_size) : 0),
      path);
}

Result<std::unique_ptr<ByteSource>> memory_byte_source(std::span<const char> bytes,
                                                       std::string name) {
  return unpacked(std::make_unique<MemorySource>(bytes), std::move(name));
}

}  // namespace latte::trace
