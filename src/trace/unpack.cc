#include "trace/unpack.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <utility>
#include <vector>

namespace latte::trace {
namespace {

constexpr size_t kPackedBytes = 128u << 10;
/// zlib: 15 bits of window, 16 more to expect a gzip header.
constexpr int kGzipWindowBits = 15 + 16;

/// What both unpackers do alike: keep packed bytes at hand, and say when they end too soon.
class Unpacker : public ByteSource {
 public:
  Unpacker(std::unique_ptr<ByteSource> packed, std::string name)
      : packed_(std::move(packed)), name_(std::move(name)), input_(kPackedBytes) {}

  Result<size_t> read(std::span<char> out) final {
    LATTE_CHECK(!out.empty());
    for (;;) {
      if (begin_ == end_ && !input_ended_) {
        auto got = packed_->read(input_);
        if (!got) return got.error();
        begin_ = 0;
        end_ = got.value();
        input_ended_ = end_ == 0;
      }
      if (input_ended_ && !inside_) return size_t{0};
      const size_t begin_before = begin_;
      auto made = unpack(out);
      if (!made || made.value() > 0) return made;
      if (input_ended_ && begin_ == begin_before)
        return Error{Errc::damaged,
                     fmt::format("{}: the packed data ends in its middle; the file is cut off, get "
                                 "it again or read what there is with --lenient",
                                 name_)};
    }
  }
  uint64_t consumed_bytes() const final { return packed_->consumed_bytes(); }
  uint64_t total_bytes() const final { return packed_->total_bytes(); }

 protected:
  /// Unpacks some of input() into `out`, moves on with consume() and sets inside().
  virtual Result<size_t> unpack(std::span<char> out) = 0;

  std::span<char> input() { return {input_.data() + begin_, end_ - begin_}; }
  void consume(size_t bytes) { begin_ += bytes; }
  void set_inside(bool inside) { inside_ = inside; }
  Error bad_data(const char* what) const {
    return Error{Errc::damaged,
                 fmt::format("{}: it does not unpack ({}); get the file again", name_, what)};
  }

 private:
  std::unique_ptr<ByteSource> packed_;
  std::string name_;
  std::vector<char> input_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool input_ended_ = false;
  bool inside_ = false;  // of a frame: more must come
};

class ZstdUnpacker final : public Unpacker {
 public:
  using Unpacker::Unpacker;
  bool prepare() {
    return stream_ != nullptr && ZSTD_isError(ZSTD_DCtx_setParameter(
                                     stream_.get(), ZSTD_d_windowLogMax, kMaxWindowLog)) == 0;
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* stream) const { ZSTD_freeDCtx(stream); }
  };
  Result<size_t> unpack(std::span<char> out) override {
    const auto source = input();
    ZSTD_inBuffer in{source.data(), source.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    const size_t left = ZSTD_decompressStream(stream_.get(), &to, &in);
    if (ZSTD_isError(left) != 0) return bad_data(ZSTD_getErrorName(left));
    consume(in.pos);
    set_inside(left != 0);
    return to.pos;
  }
  std::unique_ptr<ZSTD_DCtx, Free> stream_{ZSTD_createDCtx()};
};

class GzipUnpacker final : public Unpacker {
 public:
  using Unpacker::Unpacker;
  ~GzipUnpacker() override {
    if (ready_) inflateEnd(&stream_);
  }
  bool prepare() {
    ready_ = inflateInit2(&stream_, kGzipWindowBits) == Z_OK;
    return ready_;
  }

 private:
  Result<size_t> unpack(std::span<char> out) override {
    const auto source = input();
    stream_.next_in = reinterpret_cast<Bytef*>(source.data());
    stream_.avail_in = static_cast<uInt>(source.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int status = inflate(&stream_, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
      return bad_data(stream_.msg == nullptr ? "corrupt data" : stream_.msg);
    consume(source.size() - stream_.avail_in);
    set_inside(status != Z_STREAM_END);
    if (status == Z_STREAM_END && inflateReset(&stream_) != Z_OK) return bad_data("reset failed");
    return out.size() - stream_.avail_out;
  }
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> unpack_zstd(std::unique_ptr<ByteSource> packed, std::string name) {
  auto source = std::make_unique<ZstdUnpacker>(std::move(packed), std::move(name));
  LATTE_CHECK(source->prepare());  // fails only without memory
  return source;
}

std::unique_ptr<ByteSource> unpack_gzip(std::unique_ptr<ByteSource> packed, std::string name) {
  auto source = std::make_unique<GzipUnpacker>(std::move(packed), std::move(name));
  LATTE_CHECK(source->prepare());
  return source;
}

}  // namespace latte::trace
