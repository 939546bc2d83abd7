// What the device tests share: a temporary directory, a reactor, and requests in one line.
#pragma once

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/all_zero.h"
#include "base/buffer.h"
#include "runtime/block_device.h"
#include "runtime/call_on.h"
#include "runtime/uring_reactor.h"

namespace latte::test {

/// A directory under the working directory (a real file system; /tmp may be in memory), removed at
/// the end.
class TempDir {
 public:
  TempDir() {
    std::string pattern = std::filesystem::current_path() / "latte-test-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
    std::filesystem::remove_all(path_);
  }
  /// Puts a fresh file system of `type` over it; false if that is not permitted.
  bool mount(const char* type, const char* options) {
    mounted_ = ::mount("latte-test", path_.c_str(), type, 0, options) == 0;
    return mounted_;
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool mounted_ = false;
};

inline std::unique_ptr<UringReactor> make_reactor() {
  auto made = UringReactor::create({});
  EXPECT_TRUE(made.ok()) << made.error().message;
  return made.take();
}

inline Task<IoStatus> do_io(BlockDevice* device, IoRequest* request) {
  co_return co_await device->io(*request);
}

/// Runs one request to its end.
inline IoStatus io(UringReactor& reactor, BlockDevice& device, IoOp op, uint64_t offset,
                   std::span<std::byte> data, uint64_t length, bool fua = false) {
  IoRequest request;
  iovec vector{data.data(), data.size()};
  request.op = op;
  request.offset = offset;
  request.length = length;
  request.fua = fua;
  request.iov = &vector;
  request.iov_count = data.empty() ? 0 : 1;
  return run_task(reactor, do_io(&device, &request));
}
inline IoStatus read(UringReactor& r, BlockDevice& d, uint64_t offset, std::span<std::byte> data) {
  return io(r, d, IoOp::read, offset, data, data.size());
}
inline IoStatus write(UringReactor& r, BlockDevice& d, uint64_t offset, std::span<std::byte> data,
                      bool fua = false) {
  return io(r, d, IoOp::write, offset, data, data.size(), fua);
}
inline IoStatus flush(UringReactor& r, BlockDevice& d) { return io(r, d, IoOp::flush, 0, {}, 0); }

/// Bytes that differ from block to block and by `seed`.
inline Buffer pattern(size_t bytes, uint64_t seed) {
  Buffer buffer(bytes);
  for (size_t i = 0; i < bytes; ++i)
    buffer.data()[i] = static_cast<std::byte>((seed * 131 + i / 512 * 17 + i % 251) & 0xff);
  return buffer;
}
using latte::all_zero;
inline bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace latte::test
