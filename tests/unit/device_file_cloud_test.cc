// FileCloudVolume: superblock, errors that name their object, and fencing between two owners.
#include "device/file_cloud_volume.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>
#include <vector>

#include "device/file_create.h"
#include "device/file_lock.h"
#include "device_test_support.h"

namespace latte {
namespace {

using test::make_reactor;
using test::TempDir;

constexpr uint64_t kBase = 16u << 20;
constexpr uint64_t kLog = 8u << 20;

SuperBytes super_of(int value) {
  SuperBytes bytes;
  bytes.fill(static_cast<std::byte>(value));
  return bytes;
}

struct Fixture {
  TempDir dir;
  std::unique_ptr<UringReactor> reactor = make_reactor();
  const std::string cloud = dir / "cloud/db";

  Fixture() {
    auto created = FileCloudVolume::create(cloud, kBase, kLog);
    EXPECT_TRUE(created.ok()) << created.error().message;
  }
  std::unique_ptr<FileCloudVolume> open(FileCloudVolume::Options options = {}) {
    auto opened = FileCloudVolume::open(*reactor, cloud, options);
    EXPECT_TRUE(opened.ok()) << opened.error().message;
    return opened.take();
  }
  Result<SuperBytes> read_super(FileCloudVolume& volume) {
    return run_task(*reactor, volume.read_super());
  }
  Result<void> swap(FileCloudVolume& volume, uint64_t expected, uint64_t next) {
    const SuperBytes bytes = super_of(static_cast<int>(next));
    return run_task(*reactor, volume.swap_super(expected, next, bytes));
  }
};

void flip_byte(const std::string& path, std::streamoff at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(at);
  const auto byte = static_cast<char>(file.get() ^ 0x10);
  file.seekp(at);
  file.put(byte);
}

TEST(FileCloudVolume, CreateLeavesWhatExistsAlone) {
  Fixture f;
  {
    std::fstream base(f.cloud + "/base", std::ios::in | std::ios::out);
    base << "mine";
  }
  EXPECT_TRUE(FileCloudVolume::create(f.cloud, kBase, kLog).ok());
  std::string word(4, ' ');
  std::ifstream(f.cloud + "/base").read(word.data(), 4);
  EXPECT_EQ(word, "mine");
  const Result<void> resized = FileCloudVolume::create(f.cloud, 2 * kBase, kLog);
  EXPECT_EQ(resized.error().code, Errc::invalid);
  EXPECT_NE(resized.error().message.find("/base"), std::string::npos);
  auto volume = f.open();
  ASSERT_TRUE(f.swap(*volume, 0, 1).ok());
  EXPECT_EQ(FileCloudVolume::create(f.cloud, kBase, kLog).error().code, Errc::exists);
}

TEST(FileCloudVolume, OpenSaysWhatIsWrong) {
  Fixture f;
  const auto open = [&](const std::string& path, FileCloudVolume::Options options = {}) {
    return FileCloudVolume::open(*f.reactor, path, options).error();
  };
  EXPECT_EQ(open(f.dir / "none").code, Errc::not_found);
  EXPECT_EQ(open(f.cloud + "/base").code, Errc::invalid);
  EXPECT_NE(open(f.cloud + "/base").message.find("not a directory"), std::string::npos);
  EXPECT_EQ(open(f.cloud, {.base_bytes = 2 * kBase}).code, Errc::invalid);
  EXPECT_EQ(open(f.cloud, {.log_bytes = 2 * kLog}).code, Errc::invalid);
  ASSERT_EQ(::truncate((f.cloud + "/fence").c_str(), 3), 0);
  EXPECT_EQ(open(f.cloud).code, Errc::damaged);
  ASSERT_EQ(::unlink((f.cloud + "/log").c_str()), 0);
  ASSERT_EQ(::truncate((f.cloud + "/fence").c_str(), 8), 0);
  EXPECT_EQ(open(f.cloud).code, Errc::not_found);
  EXPECT_EQ(FileCloudVolume::create(f.cloud + "/base", kBase, kLog).error().code, Errc::invalid);
}

Task<IoStatus> write_at(BlockDevice* device, uint64_t offset, Buffer* data) {
  co_return co_await device->write(offset, data->span());
}

// Who made the volume was killed before the fence's first byte, or behind its raising of the fence.
TEST(FileCloudVolume, AnInterruptedCreateIsRepeated) {
  for (const std::string& left : {std::string(), std::string("\1\0\0\0\0\0\0\0", 8)}) {
    Fixture f;
    std::ofstream(f.cloud + "/fence", std::ios::trunc | std::ios::binary) << left;
    ASSERT_TRUE(FileCloudVolume::create(f.cloud, kBase, kLog).ok());
    auto volume = f.open();
    Buffer block(kBlockBytes);
    EXPECT_EQ(run_task(*f.reactor, write_at(&volume->log(), 0, &block)), IoStatus::ok);
    ASSERT_TRUE(f.swap(*volume, 0, 1).ok());
    EXPECT_EQ(volume->generation(), 1u);
    EXPECT_EQ(run_task(*f.reactor, write_at(&volume->log(), 0, &block)), IoStatus::ok);
  }
}

TEST(FileCloudVolume, SuperblockIsComparedAndSwapped) {
  Fixture f;
  auto volume = f.open();
  EXPECT_EQ(f.read_super(*volume).error().code, Errc::not_found);
  ASSERT_TRUE(f.swap(*volume, 0, 1).ok());
  EXPECT_EQ(f.read_super(*volume).value(), super_of(1));
  const Result<void> stale = f.swap(*volume, 0, 2);
  EXPECT_EQ(stale.error().code, Errc::busy);
  EXPECT_EQ(f.read_super(*volume).value(), super_of(1));
  EXPECT_TRUE(f.swap(*volume, 1, 1).ok());  // the owner updates it
  EXPECT_TRUE(f.swap(*volume, 1, 2).ok());
  EXPECT_EQ(volume->generation(), 2u);
  auto reopened = f.open({.read_only = true});
  EXPECT_EQ(f.read_super(*reopened).value(), super_of(2));
  EXPECT_EQ(f.swap(*reopened, 2, 3).error().code, Errc::invalid);
}

TEST(FileCloudVolume, DamagedSuperblocksAreNamed) {
  Fixture f;
  auto volume = f.open();
  ASSERT_TRUE(f.swap(*volume, 0, 1).ok());
  const std::string path = f.cloud + "/super";
  for (const std::streamoff at : {0, 9, 100, 4111, 4113}) {
    flip_byte(path, at);
    const Result<SuperBytes> read = f.read_super(*volume);
    ASSERT_FALSE(read.ok()) << at;
    EXPECT_EQ(read.error().code, Errc::damaged);
    EXPECT_NE(read.error().message.find(path), std::string::npos);
    EXPECT_EQ(f.swap(*volume, 1, 2).error().code, Errc::damaged);
    flip_byte(path, at);
  }
  EXPECT_TRUE(f.read_super(*volume).ok());
  ASSERT_EQ(::truncate(path.c_str(), 5000), 0);
  EXPECT_EQ(f.read_super(*volume).error().code, Errc::damaged);
  ASSERT_EQ(::truncate(path.c_str(), 100), 0);
  EXPECT_EQ(f.read_super(*volume).error().code, Errc::damaged);
}

TEST(FileCloudVolume, TheOldOwnerIsFenced) {
  Fixture f;
  auto old_owner = f.open();
  auto new_owner = f.open();
  Buffer data = test::pattern(4096, 1);
  EXPECT_EQ(test::write(*f.reactor, old_owner->base(), 0, data.span()), IoStatus::ok);
  ASSERT_TRUE(f.swap(*old_owner, 0, 1).ok());
  EXPECT_EQ(test::write(*f.reactor, old_owner->base(), 0, data.span()), IoStatus::ok);
  EXPECT_EQ(test::write(*f.reactor, new_owner->base(), 0, data.span()), IoStatus::fenced);
  ASSERT_TRUE(f.swap(*new_owner, 1, 2).ok());
  for (BlockDevice* device : {&old_owner->base(), &old_owner->log()}) {
    EXPECT_EQ(test::write(*f.reactor, *device, 0, data.span()), IoStatus::fenced);
    EXPECT_EQ(test::io(*f.reactor, *device, IoOp::discard, 0, {}, 4096), IoStatus::fenced);
    EXPECT_EQ(test::io(*f.reactor, *device, IoOp::write_zeroes, 0, {}, 4096), IoStatus::fenced);
    EXPECT_EQ(test::flush(*f.reactor, *device), IoStatus::fenced);
    EXPECT_EQ(test::read(*f.reactor, *device, 0, data.span()), IoStatus::ok);
  }
  EXPECT_EQ(f.swap(*old_owner, 1, 2).error().code, Errc::busy);
  EXPECT_EQ(f.swap(*old_owner, 1, 1).error().code, Errc::busy);
  EXPECT_EQ(test::write(*f.reactor, new_owner->log(), 0, data.span()), IoStatus::ok);
  EXPECT_EQ(test::flush(*f.reactor, new_owner->log()), IoStatus::ok);
}

constexpr uint64_t kPieceBytes = 256u << 10;
constexpr uint64_t kPieces = 16;

struct Writer {
  BlockDevice* device;
  Reactor* reactor;
  Buffer data = test::pattern(kPieceBytes, 7);
  IoStatus status = IoStatus::ok;
  uint64_t writes = 0;
  TimeNs last_ok_ns = 0;
  bool ended = false;
};

Task<void> write_until_refused(Writer* writer) {
  while (writer->status == IoStatus::ok) {
    const uint64_t offset = writer->writes % kPieces * kPieceBytes;
    writer->status = co_await writer->device->write(offset, writer->data.span());
    if (writer->status != IoStatus::ok) break;
    ++writer->writes;
    writer->last_ok_ns = writer->reactor->now();
  }
  writer->ended = true;
}

struct Takeover {
  Result<void> result;
  TimeNs done_ns = 0;
  bool intact = true;  ///< nobody wrote over what the new owner wrote at once
};

/// Takes over in the middle of the writes, writes all over what they write to, and looks again once
/// they have ended. When they were told of their last write does not count: that takes a turn.
Task<void> take_over_later(FileCloudVolume* volume, UringReactor* reactor, uint64_t expected,
                           Takeover* takeover) {
  co_await reactor->sleep(5 * kMillisecond);
  const SuperBytes bytes = super_of(9);
  takeover->result = co_await volume->swap_super(expected, expected + 1, bytes);
  takeover->done_ns = reactor->now();
  const Buffer mark = test::pattern(kPieceBytes, 100 + expected);
  for (BlockDevice* device : {&volume->base(), &volume->log()})
    for (uint64_t i = 0; i < kPieces; ++i)
      takeover->intact &= co_await device->write(i * kPieceBytes, mark.span()) == IoStatus::ok;
  co_await reactor->sleep(20 * kMillisecond);
  Buffer seen(kPieceBytes);
  for (BlockDevice* device : {&volume->base(), &volume->log()})
    for (uint64_t i = 0; i < kPieces; ++i) {
      takeover->intact &= co_await device->read(i * kPieceBytes, seen.span()) == IoStatus::ok;
      takeover->intact &= std::ranges::equal(seen.span(), mark.span());
    }
}

TEST(FileCloudVolume, NoOldWriteLandsAfterATakeOverUnderLoad) {
  Fixture f;
  auto owner = f.open();
  ASSERT_TRUE(f.swap(*owner, 0, 1).ok());
  for (uint64_t generation = 1; generation < 20; ++generation) {
    auto next = f.open();
    std::vector<std::unique_ptr<Writer>> writers;
    for (int i = 0; i < 8; ++i) {
      writers.push_back(std::make_unique<Writer>());
      writers.back()->device = i % 2 == 0 ? &owner->base() : &owner->log();
      writers.back()->reactor = f.reactor.get();
      f.reactor->spawn(write_until_refused(writers.back().get()));
    }
    Takeover takeover;
    run_task(*f.reactor, take_over_later(next.get(), f.reactor.get(), generation, &takeover));
    ASSERT_TRUE(takeover.result.ok()) << takeover.result.error().message;
    EXPECT_TRUE(takeover.intact);
    for (const auto& writer : writers) {
      EXPECT_TRUE(writer->ended);
      EXPECT_EQ(writer->status, IoStatus::fenced);
      EXPECT_GT(writer->writes, 0u);
    }
    owner = std::move(next);
  }
}

TEST(FileCloudVolume, AnOwnersOwnWritesSurviveItsOwnSwap) {
  Fixture f;
  auto owner = f.open();
  ASSERT_TRUE(f.swap(*owner, 0, 1).ok());
  Writer writer;
  writer.device = &owner->base();
  writer.reactor = f.reactor.get();
  f.reactor->spawn(write_until_refused(&writer));
  Takeover takeover;
  run_task(*f.reactor, take_over_later(owner.get(), f.reactor.get(), 1, &takeover));
  ASSERT_TRUE(takeover.result.ok()) << takeover.result.error().message;
  EXPECT_FALSE(writer.ended);
  EXPECT_GT(writer.last_ok_ns, takeover.done_ns);
  f.reactor->shutdown();
}

Task<void> release_later(Reactor* reactor, UniqueFd* lock, TimeNs delay_ns) {
  co_await reactor->sleep(delay_ns);
  *lock = UniqueFd();
}

TEST(FileCloudVolume, AWriteUnderWayDelaysTheTakeOver) {
  Fixture f;
  auto owner = f.open();
  // What another process's writes under way look like from here.
  UniqueFd held(::open((f.cloud + "/log").c_str(), O_RDWR));
  ASSERT_EQ(try_lock(held.get(), LockKind::shared), LockOutcome::taken);
  const TimeNs begin_ns = f.reactor->now();
  f.reactor->spawn(release_later(f.reactor.get(), &held, 50 * kMillisecond));
  ASSERT_TRUE(f.swap(*owner, 0, 1).ok());
  EXPECT_GE(f.reactor->now() - begin_ns, 50 * kMillisecond);
}

TEST(FileCloudVolume, AStuckOwnerIsNamedAndTheTakeOverCanBeRepeated) {
  Fixture f;
  auto old_owner = f.open();
  ASSERT_TRUE(f.swap(*old_owner, 0, 1).ok());
  auto owner = f.open({.swap_wait_ns = 100 * kMillisecond});
  UniqueFd held(::open((f.cloud + "/base").c_str(), O_RDWR));
  ASSERT_EQ(try_lock(held.get(), LockKind::shared), LockOutcome::taken);
  const Result<void> stuck = f.swap(*owner, 1, 2);
  ASSERT_FALSE(stuck.ok());
  EXPECT_EQ(stuck.error().code, Errc::busy);
  EXPECT_NE(stuck.error().message.find(std::to_string(::getpid())), std::string::npos)
      << stuck.error().message;
  EXPECT_EQ(f.read_super(*owner).value(), super_of(1));
  Buffer data = test::pattern(4096, 1);
  EXPECT_EQ(test::write(*f.reactor, old_owner->base(), 0, data.span()), IoStatus::fenced);
  EXPECT_EQ(test::write(*f.reactor, owner->base(), 0, data.span()), IoStatus::fenced);
  held = UniqueFd();
  ASSERT_TRUE(f.swap(*owner, 1, 2).ok());
  EXPECT_EQ(test::write(*f.reactor, owner->base(), 0, data.span()), IoStatus::ok);
}

TEST(FileCloudVolume, WritesWaitWhileATakeOverHoldsTheLock) {
  Fixture f;
  auto owner = f.open();
  ASSERT_TRUE(f.swap(*owner, 0, 1).ok());
  UniqueFd held(::open((f.cloud + "/base").c_str(), O_RDWR));
  ASSERT_EQ(try_lock(held.get(), LockKind::exclusive), LockOutcome::taken);
  const TimeNs begin_ns = f.reactor->now();
  f.reactor->spawn(release_later(f.reactor.get(), &held, 20 * kMillisecond));
  Buffer data = test::pattern(4096, 1);
  EXPECT_EQ(test::write(*f.reactor, owner->base(), 0, data.span()), IoStatus::ok);
  EXPECT_GE(f.reactor->now() - begin_ns, 20 * kMillisecond);
}

/// Takes generation 1 and writes blocks full of ones until it is killed.
[[noreturn]] void write_until_killed(const std::string& cloud, int ready_fd) {
  auto reactor = make_reactor();
  auto volume = FileCloudVolume::open(*reactor, cloud, {}).take();
  const SuperBytes bytes = super_of(1);
  if (!run_task(*reactor, volume->swap_super(0, 1, bytes)).ok()) ::_exit(1);
  std::vector<std::unique_ptr<Writer>> writers;
  for (int i = 0; i < 16; ++i) {
    writers.push_back(std::make_unique<Writer>());
    writers.back()->device = &volume->log();
    writers.back()->reactor = reactor.get();
    std::memset(writers.back()->data.data(), 1, writers.back()->data.size());
    reactor->spawn(write_until_refused(writers.back().get()));
  }
  if (::write(ready_fd, "r", 1) != 1) ::_exit(1);
  reactor->run();
  ::_exit(1);
}

TEST(FileCloudVolume, NoWriteOfAKilledOwnerArrivesAfterTheTakeOver) {
  for (int round = 0; round < 5; ++round) {
    Fixture f;
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    if (child == 0) write_until_killed(f.cloud, pipe_fds[1]);
    char ready = 0;
    ASSERT_EQ(::read(pipe_fds[0], &ready, 1), 1);
    ::usleep(10'000);
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    auto owner = f.open();
    ASSERT_TRUE(f.swap(*owner, 1, 2).ok());
    Buffer twos(4u << 20);
    std::memset(twos.data(), 2, twos.size());
    EXPECT_EQ(test::write(*f.reactor, owner->log(), 0, twos.span()), IoStatus::ok);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    ::usleep(10'000);
    Buffer back(4u << 20);
    EXPECT_EQ(test::read(*f.reactor, owner->log(), 0, back.span()), IoStatus::ok);
    EXPECT_TRUE(test::same(back.span(), twos.span()));
    ::close(pipe_fds[0]);
    ::close(pipe_fds[1]);
  }
}

}  // namespace
}  // namespace latte
