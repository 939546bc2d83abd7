#include "control/create_pool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "base/buffer.h"
#include "control/config_values.h"
#include "control/engine_thread.h"
#include "control/progress_printer.h"
#include "device/file_create.h"
#include "device/file_device.h"
#include "device/file_lock.h"
#include "device/unique_fd.h"
#include "disk/volume_space.h"

namespace latte {
namespace {

// A block device is taken for empty if this much at its beginning and at its end is zero: partition
// tables, file systems, RAID and LVM all leave a mark there.
constexpr uint64_t kLookedAtBytes = 4u << 20;

// Long enough to be nobody else's file.
constexpr const char* kUnfinishedSuffix = ".latte-new";

Task<Result<void>> expect_zeroes(BlockDevice* device, uint64_t offset, uint64_t length) {
  Buffer data(length);
  const IoStatus status = co_await device->read(offset, data.span());
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("pool: {}: reading at {}: {}", device->info().name,
                                          offset, to_string(status))};
  const auto* first = data.data();
  const auto* end = first + length;
  const auto* found = std::find_if(first, end, [](std::byte b) { return b != std::byte{0}; });
  if (found == end) co_return Result<void>();
  co_return Error{Errc::exists,
                  fmt::format("pool: {} holds data (at byte {}); it was left alone. If they may "
                              "go, clear it (wipefs -a, or blkdiscard -z) and run latte create "
                              "again",
                              device->info().name, offset + static_cast<uint64_t>(found - first))};
}

/// `look_first`: the device existed; else it is a file just written with zeroes.
Task<Result<void>> format_device(Reactor* reactor, BlockDevice* device, const PoolConfig* pool,
                                 bool look_first) {
  if (look_first) {
    const uint64_t size = device->info().size_bytes;
    const uint64_t length = std::min(kLookedAtBytes, size);
    auto looked = co_await expect_zeroes(device, 0, length);
    if (!looked) co_return looked;
    looked = co_await expect_zeroes(device, size - length, length);
    if (!looked) co_return looked;
  }
  if (pool->volumes_bytes > 0) {
    VolumeSpace::FormatOptions volumes;
    volumes.zeroed = !look_first;
    const VolumeArea area{pool->size_bytes, pool->volumes_bytes};
    const auto made = co_await VolumeSpace::format(*reactor, *device, area, volumes);
    if (!made) co_return Error{made.error().code, "pool: " + made.error().message};
  }
  // With its superblock the pool exists, so that comes last.
  PoolOptions options = pool->options;
  options.log_bytes = pool->size_bytes;
  auto formatted = co_await Host::format_pool(*reactor, *device, options);
  if (!formatted) co_return Error{formatted.error().code, "pool: " + formatted.error().message};
  const IoStatus status = co_await device->flush();
  if (status != IoStatus::ok)
    co_return Error{Errc::io,
                    fmt::format("pool: {}: flush: {}", device->info().name, to_string(status))};
  co_return Result<void>();
}

Result<void> format_path(const PoolConfig& pool, const std::string& path, bool look_first) {
  auto engine = EngineThread::start({});
  if (!engine) return engine.error();
  EngineThread& thread = *engine.value();
  FileDevice::Options options;
  options.path = path;
  options.expected_size_bytes = pool.device_bytes();
  auto device = thread.call([&] { return FileDevice::open(thread.reactor(), std::move(options)); });
  if (!device) return Error{device.error().code, "pool: " + device.error().message};
  Result<void> done = thread.call([&] { return device.value()->lock_exclusive(); });
  if (done)
    done = thread.call(
        [&] { return format_device(&thread.reactor(), device.value().get(), &pool, look_first); });
  thread.stop();
  return done;
}

std::string sizes(const PoolConfig& pool) {
  if (pool.volumes_bytes == 0) return format_size(pool.size_bytes);
  return fmt::format("{} and {} for volumes", format_size(pool.size_bytes),
                     format_size(pool.volumes_bytes));
}

// Keeps other runs of latte create out of a directory while it lives.
Result<UniqueFd> lock_directory(const std::string& directory) {
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    const Errc code = errno == ENOENT ? Errc::not_found : Errc::io;
    return Error{code, fmt::format("pool: the directory {}: {}; make it, or correct pool.path",
                                   directory, std::strerror(errno))};
  }
  switch (try_lock(fd.get(), LockKind::exclusive)) {
    case LockOutcome::taken:
      return fd;
    case LockOutcome::failed:
      return Error{Errc::io, fmt::format("pool: locking the directory {}: {}; the pool belongs on "
                                         "a local file system",
                                         directory, std::strerror(errno))};
    case LockOutcome::held_by_other:
      break;
  }
  return Error{Errc::busy,
               fmt::format("pool: {} has the directory {} locked, another latte create perhaps; "
                           "wait for its end",
                           lock_holders(fd.get()), directory)};
}

Result<void> write_zeroes(const PoolConfig& pool, const std::string& unfinished) {
  Progress progress;
  progress.total_bytes = pool.device_bytes();
  const ProgressPrinter printer("writing " + unfinished, progress);
  const Result<void> made =
      create_file_exclusive(unfinished, pool.device_bytes(), Preallocate::yes,
                            [&](uint64_t done, uint64_t) { progress.done_bytes = done; });
  if (made) return {};
  return Error{made.error().code, "pool: " + made.error().message};
}

// Renames without replacing what has the name meanwhile.
Result<void> give_name(const std::string& unfinished, const std::string& path) {
  bool done =
      ::renameat2(AT_FDCWD, unfinished.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0;
  // Not every file system can; link() does not replace anything either.
  if (!done && errno == EINVAL) {
    done = ::link(unfinished.c_str(), path.c_str()) == 0;
    if (done) ::unlink(unfinished.c_str());
  }
  if (done) return {};
  return Error{
      errno == EEXIST ? Errc::exists : Errc::io,
      fmt::format("pool: cannot give {} the name {}: {}", unfinished, path, std::strerror(errno))};
}

Result<void> make_pool_file(const PoolConfig& pool, const Say& say) {
  const std::string unfinished = pool.path + kUnfinishedSuffix;
  const std::string directory = directory_of(pool.path);
  const auto lock = lock_directory(directory);
  if (!lock) return lock.error();
  if (::unlink(unfinished.c_str()) == 0)
    say(fmt::format("pool {}: removed {}, left by a run that was interrupted", pool.path,
                    unfinished));
  Result<void> done = write_zeroes(pool, unfinished);
  if (!done) return done;
  done = format_path(pool, unfinished, false);
  if (done) done = give_name(unfinished, pool.path);
  if (!done) {
    ::unlink(unfinished.c_str());
    return done;
  }
  say(fmt::format("pool {}: created, {}", pool.path, sizes(pool)));
  return sync_directory(directory);
}

}  // namespace

Result<void> make_pool(const PoolConfig& pool, const Say& say) {
  struct stat info {};
  if (::stat(pool.path.c_str(), &info) != 0) {
    if (errno == ENOENT) return make_pool_file(pool, say);
    return Error{Errc::io,
                 fmt::format("pool: cannot look at {}: {}", pool.path, std::strerror(errno))};
  }
  if (!S_ISBLK(info.st_mode))
    return Error{Errc::exists,
                 fmt::format("pool: {} exists and holds no pool; it was left alone. Remove it, or "
                             "choose another pool.path",
                             pool.path)};
  const Result<void> formatted = format_path(pool, pool.path, true);
  if (!formatted) return formatted;
  say(fmt::format("pool {}: created on the block device, {}", pool.path, sizes(pool)));
  return {};
}

}  // namespace latte
