// FileDevice, its locks, and the making of files.
#include "device/file_device.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <vector>

#include "device/file_create.h"
#include "device_test_support.h"

namespace latte {
namespace {

using test::all_zero;
using test::flush;
using test::io;
using test::make_reactor;
using test::pattern;
using test::read;
using test::same;
using test::TempDir;
using test::write;

constexpr uint64_t kSize = 8u << 20;

struct Fixture {
  TempDir dir;
  std::unique_ptr<UringReactor> reactor = make_reactor();
  std::unique_ptr<FileDevice> device;

  void open(FileDevice::Options options = {}, Preallocate preallocate = Preallocate::no) {
    options.path = dir / "file";
    auto created = create_file_exclusive(options.path, kSize, preallocate);
    ASSERT_TRUE(created.ok()) << created.error().message;
    auto opened = FileDevice::open(*reactor, options);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    device = opened.take();
  }
};

void expect_zeroing_works(Fixture& f) {
  for (const IoOp op : {IoOp::discard, IoOp::write_zeroes}) {
    for (const bool fua : {false, true}) {
      Buffer data = pattern(1u << 20, 3);
      Buffer back(1u << 20);
      ASSERT_EQ(write(*f.reactor, *f.device, 0, data.span()), IoStatus::ok);
      ASSERT_EQ(io(*f.reactor, *f.device, op, 4096, {}, (1u << 20) - 8192, fua), IoStatus::ok);
      ASSERT_EQ(read(*f.reactor, *f.device, 0, back.span()), IoStatus::ok);
      EXPECT_TRUE(same(back.span().first(4096), data.span().first(4096)));
      EXPECT_TRUE(all_zero(back.span().subspan(4096, (1u << 20) - 8192)));
      EXPECT_TRUE(same(back.span().last(4096), data.span().last(4096)));
    }
  }
}

TEST(FileDevice, ReadsWhatWasWritten) {
  for (const bool direct : {true, false}) {
    Fixture f;
    f.open({.direct = direct}, direct ? Preallocate::yes : Preallocate::no);
    EXPECT_EQ(f.device->info().size_bytes, kSize);
    EXPECT_EQ(f.device->info().alignment_bytes == 1, !f.device->direct());
    EXPECT_TRUE(f.device->info().can_fua);
    Buffer data = pattern(64u << 10, 1);
    Buffer back(64u << 10);
    EXPECT_EQ(write(*f.reactor, *f.device, 128u << 10, data.span(), true), IoStatus::ok);
    EXPECT_EQ(flush(*f.reactor, *f.device), IoStatus::ok);
    EXPECT_EQ(read(*f.reactor, *f.device, 128u << 10, back.span()), IoStatus::ok);
    EXPECT_TRUE(same(data.span(), back.span()));
    EXPECT_EQ(read(*f.reactor, *f.device, 0, back.span()), IoStatus::ok);
    EXPECT_TRUE(all_zero(back.span()));
  }
}

TEST(FileDevice, TakesMoreVectorsThanTheKernel) {
  Fixture f;
  f.open({.direct = false});
  constexpr uint32_t kVectors = 2500;
  constexpr size_t kEach = 1000;
  Buffer data = pattern(kVectors * kEach, 2);
  Buffer back(kVectors * kEach);
  for (const IoOp op : {IoOp::write, IoOp::read}) {
    std::vector<iovec> vectors;
    std::byte* memory = op == IoOp::write ? data.data() : back.data();
    for (uint32_t i = 0; i < kVectors; ++i) vectors.push_back({memory + i * kEach, kEach});
    IoRequest request;
    request.op = op;
    request.offset = 512;
    request.length = kVectors * kEach;
    request.iov = vectors.data();
    request.iov_count = kVectors;
    EXPECT_EQ(run_task(*f.reactor, test::do_io(f.device.get(), &request)), IoStatus::ok);
  }
  EXPECT_TRUE(same(data.span().first(kVectors * kEach), back.span().first(kVectors * kEach)));
}

Task<void> write_one(BlockDevice* device, uint64_t offset, Buffer* data, int* left,
                     Reactor* reactor) {
  const IoStatus status = co_await device->write(offset, data->span());
  EXPECT_EQ(status, IoStatus::ok);
  if (--*left == 0) static_cast<UringReactor*>(reactor)->stop();
}

TEST(FileDevice, ManyRequestsTogether) {
  Fixture f;
  f.open();
  constexpr int kRequests = 1500;  // beyond the submission ring
  std::vector<Buffer> buffers;
  for (int i = 0; i < kRequests; ++i) buffers.push_back(pattern(4096, static_cast<uint64_t>(i)));
  int left = kRequests;
  for (int i = 0; i < kRequests; ++i)
    f.reactor->spawn(write_one(f.device.get(), static_cast<uint64_t>(i) * 4096,
                               &buffers[static_cast<size_t>(i)], &left, f.reactor.get()));
  f.reactor->run();
  Buffer back(4096);
  for (int i = 0; i < kRequests; i += 7) {
    ASSERT_EQ(read(*f.reactor, *f.device, static_cast<uint64_t>(i) * 4096, back.span()),
              IoStatus::ok);
    ASSERT_TRUE(same(back.span(), buffers[static_cast<size_t>(i)].span())) << i;
  }
}

TEST(FileDevice, ZeroesByHoles) {
  Fixture f;
  f.open();
  EXPECT_TRUE(f.device->info().can_discard);
  expect_zeroing_works(f);
  ASSERT_EQ(io(*f.reactor, *f.device, IoOp::discard, 0, {}, kSize), IoStatus::ok);
  struct stat info {};
  ASSERT_EQ(::fstat(f.device->fd(), &info), 0);
  EXPECT_EQ(info.st_blocks, 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), kSize);
}

TEST(FileDevice, ZeroesWhereZeroRangeIsMissing) {
  Fixture f;
  if (!f.dir.mount("tmpfs", "size=64m")) GTEST_SKIP() << "mounting is not permitted";
  f.open();
  expect_zeroing_works(f);
}

TEST(FileDevice, ZeroesWhereHolesAreMissing) {
  Fixture f;
  if (!f.dir.mount("ramfs", nullptr)) GTEST_SKIP() << "mounting is not permitted";
  f.open();
  EXPECT_FALSE(f.device->info().can_discard);
  expect_zeroing_works(f);
}

TEST(FileDevice, RefusesWhatIsOutsideOrMisaligned) {
  Fixture f;
  f.open();
  Buffer data = pattern(8192, 1);
  EXPECT_EQ(read(*f.reactor, *f.device, kSize - 4096, data.span()), IoStatus::invalid);
  EXPECT_EQ(write(*f.reactor, *f.device, kSize, data.span()), IoStatus::invalid);
  EXPECT_EQ(write(*f.reactor, *f.device, UINT64_MAX - 4095, data.span()), IoStatus::invalid);
  EXPECT_EQ(io(*f.reactor, *f.device, IoOp::discard, kSize, {}, 4096), IoStatus::invalid);
  EXPECT_EQ(io(*f.reactor, *f.device, IoOp::write_zeroes, 4096, {}, UINT64_MAX), IoStatus::invalid);
  if (f.device->direct()) {
    EXPECT_EQ(read(*f.reactor, *f.device, 1, data.span()), IoStatus::invalid);
    EXPECT_EQ(read(*f.reactor, *f.device, 0, data.span().subspan(1, 4096)), IoStatus::invalid);
    EXPECT_EQ(read(*f.reactor, *f.device, 0, data.span().first(4097)), IoStatus::invalid);
  }
  Buffer big(f.device->info().max_request_bytes + 4096);
  EXPECT_EQ(read(*f.reactor, *f.device, 0, big.span()), IoStatus::invalid);
  EXPECT_EQ(read(*f.reactor, *f.device, 0, {}), IoStatus::ok);  // nothing asked, nothing done
}

TEST(FileDevice, AFileThatBecameShorterIsAnError) {
  Fixture f;
  f.open();
  Buffer data(64u << 10);
  ASSERT_EQ(::truncate((f.dir / "file").c_str(), 32u << 10), 0);
  EXPECT_EQ(read(*f.reactor, *f.device, 0, data.span()), IoStatus::io_error);
  EXPECT_EQ(read(*f.reactor, *f.device, 1u << 20, data.span()), IoStatus::io_error);
  EXPECT_EQ(read(*f.reactor, *f.device, 0, data.span().first(4096)), IoStatus::ok);
}

TEST(FileDevice, ReadOnlyRefusesWrites) {
  Fixture f;
  f.open({.read_only = true});
  Buffer data = pattern(4096, 1);
  EXPECT_EQ(write(*f.reactor, *f.device, 0, data.span()), IoStatus::invalid);
  EXPECT_EQ(io(*f.reactor, *f.device, IoOp::discard, 0, {}, 4096), IoStatus::invalid);
  EXPECT_EQ(read(*f.reactor, *f.device, 0, data.span()), IoStatus::ok);
}

TEST(FileDevice, AFullFileSystemIsNoSpace) {
  Fixture f;
  if (!f.dir.mount("tmpfs", "size=1m")) GTEST_SKIP() << "mounting is not permitted";
  f.open();
  Buffer data = pattern(4u << 20, 1);
  EXPECT_EQ(write(*f.reactor, *f.device, 0, data.span()), IoStatus::no_space);
}

TEST(FileDevice, OpenSaysWhatIsWrong) {
  TempDir dir;
  auto reactor = make_reactor();
  const auto open = [&](FileDevice::Options options) {
    return FileDevice::open(*reactor, std::move(options)).error();
  };
  EXPECT_EQ(open({.path = dir / "missing"}).code, Errc::not_found);
  EXPECT_NE(open({.path = dir / "missing"}).message.find("missing"), std::string::npos);
  EXPECT_EQ(open({.path = dir.path()}).code, Errc::invalid);
  ASSERT_TRUE(create_file_exclusive(dir / "a", 1u << 20, Preallocate::no).ok());
  EXPECT_EQ(open({.path = dir / "a", .expected_size_bytes = 2u << 20}).code, Errc::invalid);
  ASSERT_EQ(::truncate((dir / "a").c_str(), 1000), 0);
  EXPECT_EQ(open({.path = dir / "a"}).code, Errc::invalid);
  ASSERT_EQ(::truncate((dir / "a").c_str(), 0), 0);
  EXPECT_EQ(open({.path = dir / "a"}).code, Errc::invalid);
}

TEST(FileDevice, LockNamesItsHolder) {
  Fixture f;
  f.open();
  ASSERT_TRUE(f.device->lock_exclusive().ok());
  auto second = FileDevice::open(*f.reactor, {.path = f.dir / "file"}).take();
  const Result<void> refused = second->lock_exclusive();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::busy);
  EXPECT_NE(refused.error().message.find(std::to_string(::getpid())), std::string::npos)
      << refused.error().message;
  EXPECT_NE(refused.error().message.find(f.dir / "file"), std::string::npos);
  f.device.reset();
  EXPECT_TRUE(second->lock_exclusive().ok());
}

TEST(CreateFile, PreallocatesWithProgress) {
  TempDir dir;
  uint64_t last = 0;
  constexpr uint64_t kOdd = (9u << 20) + 512;
  const auto progress = [&](uint64_t done, uint64_t total) {
    EXPECT_GT(done, last);
    EXPECT_EQ(total, kOdd);
    last = done;
  };
  ASSERT_TRUE(create_file_exclusive(dir / "pool", kOdd, Preallocate::yes, progress).ok());
  EXPECT_EQ(last, kOdd);
  struct stat info {};
  ASSERT_EQ(::stat((dir / "pool").c_str(), &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), kOdd);
  EXPECT_GE(static_cast<uint64_t>(info.st_blocks) * 512, kOdd);
  EXPECT_EQ(create_file_exclusive(dir / "pool", kOdd, Preallocate::no).error().code, Errc::exists);
  EXPECT_EQ(create_file_exclusive(dir / "odd", 1000, Preallocate::no).error().code, Errc::invalid);
  EXPECT_EQ(create_file_exclusive(dir / "no/such", 4096, Preallocate::no).error().code,
            Errc::not_found);
}

TEST(CreateFile, AFullFileSystemLeavesNothingBehind) {
  TempDir dir;
  if (!dir.mount("tmpfs", "size=4m")) GTEST_SKIP() << "mounting is not permitted";
  const Result<void> full = create_file_exclusive(dir / "pool", 16u << 20, Preallocate::yes);
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, Errc::no_space);
  EXPECT_NE(full.error().message.find(dir / "pool"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(dir / "pool"));
}

TEST(CreateFile, AFileSizeLimitLeavesNothingBehind) {
  TempDir dir;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{1u << 20, before.rlim_max};
  std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Result<void> refused = create_file_exclusive(dir / "pool", 16u << 20, Preallocate::yes);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::no_space);
  EXPECT_FALSE(std::filesystem::exists(dir / "pool"));
}

}  // namespace
}  // namespace latte
