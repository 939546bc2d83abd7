#include "device/file_cloud_volume.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "device/file_create.h"
#include "device/file_error.h"
#include "device/file_lock.h"
#include "device/file_super.h"

namespace latte {
namespace {

constexpr TimeNs kLockPollNs = kMillisecond;

/// Resumes the paused writers whichever way the swap ends.
struct PauseGuard {
  FencedFileDevice& base;
  FencedFileDevice& log;
  PauseGuard(FencedFileDevice& base_device, FencedFileDevice& log_device)
      : base(base_device), log(log_device) {
    base.pause();
    log.pause();
  }
  ~PauseGuard() {
    base.resume();
    log.resume();
  }
};

/// The volume's directory as it should be, or what is wrong with it.
Result<void> check_directory(const std::string& directory) {
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0)
    return file_error("open cloud volume", directory, errno);
  if (!S_ISDIR(info.st_mode))
    return Error{
        Errc::invalid,
        fmt::format("cloud volume {} is not a directory; name a directory that holds base, "
                    "log and super",
                    directory)};
  return {};
}

Result<void> create_data_file(const std::string& path, uint64_t size_bytes) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) return file_error("look at", path, errno);
    return create_file_exclusive(path, size_bytes, Preallocate::no);
  }
  if (static_cast<uint64_t>(info.st_size) == size_bytes) return {};
  return Error{
      Errc::invalid,
      fmt::format("{} exists with {} bytes, wanted are {}; remove it if nobody needs it, or "
                  "correct the size in the configuration",
                  path, info.st_size, size_bytes)};
}

}  // namespace

Result<void> FileCloudVolume::create(const std::string& directory, uint64_t base_bytes,
                                     uint64_t log_bytes) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed && !std::filesystem::exists(directory))
    return file_error("create directory", directory, failed.value());
  Result<void> done = check_directory(directory);
  if (!done) return done;
  const std::string super = directory + "/super";
  struct stat info {};
  if (::lstat(super.c_str(), &info) == 0)
    return Error{Errc::exists,
                 fmt::format("cloud volume {} has a disk already (there is {}); it was left alone",
                             directory, super)};
  if (errno != ENOENT) return file_error("look at", super, errno);
  done = create_data_file(directory + "/base", base_bytes);
  if (!done) return done;
  done = create_data_file(directory + "/log", log_bytes);
  if (!done) return done;
  done = FileFence::create(directory + "/fence");
  if (!done) return done;
  done = sync_directory(directory);
  if (!done) return done;
  return sync_directory(directory_of(directory));
}

FileCloudVolume::FileCloudVolume(UringReactor& reactor, std::string directory, Options options)
    : reactor_(reactor),
      directory_(std::move(directory)),
      name_("file:" + directory_),
      options_(options) {}

Result<std::unique_ptr<FileCloudVolume>> FileCloudVolume::open(UringReactor& reactor,
                                                               const std::string& directory,
                                                               Options options) {
  Result<void> done = check_directory(directory);
  if (!done) return done.error();
  std::unique_ptr<FileCloudVolume> volume(new FileCloudVolume(reactor, directory, options));
  Result<std::unique_ptr<FileFence>> fence =
      FileFence::open(volume->path_of("fence"), options.read_only);
  if (!fence) return fence.error();
  volume->fence_ = fence.take();
  done = volume->take_up_unfinished();
  if (!done) return done.error();
  done = volume->open_data(volume->base_, "base", options.base_bytes);
  if (!done) return done.error();
  done = volume->open_data(volume->log_, "log", options.log_bytes);
  if (!done) return done.error();
  return volume;
}

/// A volume without a superblock is nobody's, whatever the fence says: who made it was interrupted
/// between raising the fence and writing the superblock. Who makes it now writes past that.
Result<void> FileCloudVolume::take_up_unfinished() {
  const Result<StoredSuper> super = read_file_super(directory_);
  if (super || super.error().code != Errc::not_found) return {};
  const Result<uint64_t> raised = fence_->read();
  if (!raised) return raised.error();
  fence_->adopt(raised.value());
  return {};
}

Result<void> FileCloudVolume::open_data(DataFile& data, const char* file_name,
                                        uint64_t expected_bytes) {
  data.path = path_of(file_name);
  FileDevice::Options options;
  options.path = data.path;
  options.read_only = options_.read_only;
  options.direct = options_.direct;
  options.expected_size_bytes = expected_bytes;
  Result<std::unique_ptr<FileDevice>> file = FileDevice::open(reactor_, options);
  if (!file) return file.error();
  data.file = file.take();
  data.fenced = std::make_unique<FencedFileDevice>(reactor_, *data.file, *fence_);
  return {};
}

Task<Result<SuperBytes>> FileCloudVolume::read_super() {
  Result<StoredSuper> super = read_file_super(directory_);
  if (!super) co_return super.error();
  co_return super.value().bytes;
}

Result<void> FileCloudVolume::check_swap(uint64_t expected_generation,
                                         uint64_t next_generation) const {
  uint64_t current = 0;  // a volume without a superblock counts as generation 0
  const Result<StoredSuper> super = read_file_super(directory_);
  if (super) {
    current = super.value().generation;
  } else if (super.error().code != Errc::not_found) {
    return super.error();
  }
  if (current != expected_generation)
    return Error{Errc::busy,
                 fmt::format("{}: the superblock has generation {}, expected was {}: another owner "
                             "was first; read it again",
                             name_, current, expected_generation)};
  const Result<uint64_t> fence = fence_->read();
  if (!fence) return fence.error();
  if (fence.value() > next_generation)
    return Error{Errc::busy,
                 fmt::format("{}: the fence is at generation {}, above {}: a take-over was "
                             "interrupted; take the disk over again",
                             name_, fence.value(), next_generation)};
  return {};
}

Task<Result<void>> FileCloudVolume::wait_for_lock(const UniqueFd* fd, const std::string* path,
                                                  TimeNs deadline_ns) {
  for (;;) {
    const LockOutcome outcome = try_lock(fd->get(), LockKind::exclusive);
    if (outcome == LockOutcome::taken) co_return Result<void>();
    if (outcome == LockOutcome::failed) co_return file_error("lock", *path, errno);
    if (reactor_.now() >= deadline_ns)
      co_return Error{Errc::busy, fmt::format("{} is held by {}", *path, lock_holders(fd->get()))};
    co_await reactor_.sleep(kLockPollNs);
  }
}

Task<Result<void>> FileCloudVolume::drain_writers(DataFile* data, uint64_t next_generation) {
  // Another descriptor than the writes', so that this volume's own writes are waited for as well.
  // The lock goes with it; from then on the raised fence keeps older writers out.
  const UniqueFd fd(::open(data->path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) co_return file_error("open", data->path, errno);
  Result<void> locked =
      co_await wait_for_lock(&fd, &data->path, reactor_.now() + options_.swap_wait_ns);
  if (locked || locked.error().code != Errc::busy) co_return locked;
  co_return Error{
      Errc::busy,
      fmt::format(
          "{}: after {} s writes of an older owner are still under way: {}. It may have been "
          "stopped (SIGSTOP, a debugger) or its drive hangs; end it (kill -9) and try again. "
          "Generation {} is fenced in already: the older owner can start no new write",
          name_, options_.swap_wait_ns / kSecond, locked.error().message, next_generation)};
}

Task<Result<void>> FileCloudVolume::raise_fence(uint64_t next_generation) {
  const Result<uint64_t> fence = fence_->read();
  if (!fence) co_return fence.error();
  if (fence.value() < next_generation) {
    Result<void> raised = fence_->raise(next_generation);
    if (!raised) co_return raised;
  }
  Result<void> drained = co_await drain_writers(&base_, next_generation);
  if (!drained) co_return drained;
  co_return co_await drain_writers(&log_, next_generation);
}

Task<Result<void>> FileCloudVolume::swap_super(uint64_t expected_generation,
                                               uint64_t next_generation, const SuperBytes& next) {
  LATTE_CHECK(next_generation >= expected_generation);
  const StoredSuper super{next_generation, next};
  if (options_.read_only)
    co_return Error{Errc::invalid, fmt::format("{} was opened for reading only", name_)};
  const std::string lock_path = path_of("owner.lock");
  const UniqueFd owner_lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!owner_lock.valid()) co_return file_error("open", lock_path, errno);
  Result<void> done =
      co_await wait_for_lock(&owner_lock, &lock_path, reactor_.now() + options_.swap_wait_ns);
  if (!done) co_return done;
  done = check_swap(expected_generation, next_generation);
  if (!done) co_return done;
  if (expected_generation == next_generation && next_generation == generation()) {
    // Still the owner: older writers were drained when it became that.
    co_return write_file_super(directory_, super);
  }
  const PauseGuard paused(*base_.fenced, *log_.fenced);
  done = co_await raise_fence(next_generation);
  if (!done) co_return done;
  done = write_file_super(directory_, super);
  if (!done) co_return done;
  fence_->adopt(next_generation);
  co_return Result<void>();
}

Task<Result<void>> FileCloudVolume::grow_base(uint64_t size_bytes) {
  co_return base_.file->grow(size_bytes);
}

}  // namespace latte
