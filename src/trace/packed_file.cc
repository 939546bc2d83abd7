#include "trace/packed_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"

namespace latte::trace {
namespace {

/// What all do alike: bytes into the file, errors with its name.
class PlainFile : public PackedFile {
 public:
  PlainFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PlainFile() override {
    if (fd_ >= 0) ::close(fd_);
  }
  PlainFile(const PlainFile&) = delete;
  PlainFile& operator=(const PlainFile&) = delete;

  Result<void> write(std::string_view bytes) override { return put(bytes.data(), bytes.size()); }
  Result<void> close() override {
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0) return failed();
    return {};
  }

 protected:
  Result<void> put(const char* bytes, size_t count) {
    while (count > 0) {
      const ssize_t written = ::write(fd_, bytes, count);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return failed();
      bytes += written;
      count -= static_cast<size_t>(written);
    }
    return {};
  }

 private:
  Error failed() const {
    return Error{Errc::io, fmt::format("{}: write: {}", path_, std::strerror(errno))};
  }

  int fd_;
  const std::string path_;
};

class ZstdFile final : public PlainFile {
 public:
  using PlainFile::PlainFile;

  Result<void> write(std::string_view bytes) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    while (in.pos < in.size) {
      const auto left = pack(in, ZSTD_e_continue);
      if (!left) return left.error();
    }
    return {};
  }
  Result<void> close() override {
    ZSTD_inBuffer none{nullptr, 0, 0};
    for (size_t left = 1; left > 0;) {
      const auto packed = pack(none, ZSTD_e_end);
      if (!packed) return packed.error();
      left = packed.value();
    }
    return PlainFile::close();
  }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* stream) const { ZSTD_freeCCtx(stream); }
  };
  /// Returns how much is still to come out, as far as it is known.
  Result<size_t> pack(ZSTD_inBuffer& in, ZSTD_EndDirective directive) {
    ZSTD_outBuffer out{packed_.data(), packed_.size(), 0};
    const size_t left = ZSTD_compressStream2(stream_.get(), &out, &in, directive);
    LATTE_CHECK(ZSTD_isError(left) == 0);  // fails only without memory
    const Result<void> done = put(packed_.data(), out.pos);
    if (!done) return done.error();
    return left;
  }

  std::unique_ptr<ZSTD_CCtx, Free> stream_{ZSTD_createCCtx()};
  std::vector<char> packed_ = std::vector<char>(ZSTD_CStreamOutSize());
};

class GzipFile final : public PlainFile {
 public:
  GzipFile(int fd, std::string path) : PlainFile(fd, std::move(path)) {
    // 15 bits of window, 16 more for a gzip header.
    LATTE_CHECK(deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                             Z_DEFAULT_STRATEGY) == Z_OK);
  }
  ~GzipFile() override { deflateEnd(&stream_); }

  Result<void> write(std::string_view bytes) override { return pack(bytes, Z_NO_FLUSH); }
  Result<void> close() override {
    const Result<void> ended = pack({}, Z_FINISH);
    if (!ended) return ended;
    return PlainFile::close();
  }

 private:
  Result<void> pack(std::string_view bytes, int flush) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(packed_.data());
      stream_.avail_out = static_cast<uInt>(packed_.size());
      LATTE_CHECK(deflate(&stream_, flush) != Z_STREAM_ERROR);
      const Result<void> done = put(packed_.data(), packed_.size() - stream_.avail_out);
      if (!done) return done;
    } while (stream_.avail_out == 0);
    return {};
  }

  z_stream stream_{};
  std::vector<char> packed_ = std::vector<char>(64u << 10);
};

}  // namespace

Result<std::unique_ptr<PackedFile>> PackedFile::create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST)
    return Error{Errc::exists, fmt::format("{}: it exists; choose another name", path)};
  if (fd < 0)
    return Error{errno == ENOENT ? Errc::not_found : Errc::io,
                 fmt::format("{}: {}", path, std::strerror(errno))};
  if (path.ends_with(".zst")) return std::unique_ptr<PackedFile>(new ZstdFile(fd, path));
  if (path.ends_with(".gz")) return std::unique_ptr<PackedFile>(new GzipFile(fd, path));
  return std::unique_ptr<PackedFile>(new PlainFile(fd, path));
}

}  // namespace latte::trace
