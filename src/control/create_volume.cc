#include "control/create_volume.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "device/file_cloud_volume.h"
#include "device/nbd_cloud_volume.h"
#include "device/unique_fd.h"

namespace latte {
namespace {

namespace fs = std::filesystem;

// What FileCloudVolume makes, and what mkfs leaves where the directory is a mount point.
constexpr std::array<std::string_view, 6> kOwnNames = {"base",       "log",       "fence",
                                                       "owner.lock", "super.new", "lost+found"};

Error left_alone(const DiskConfig& disk, const std::string& why, std::string_view remedy) {
  return Error{Errc::exists,
               fmt::format("disk {}: {}; it was left alone. {}", disk.options.name, why, remedy)};
}

// Formatting writes nothing to the base, so bytes in it are a disk's, or somebody else's.
Result<void> expect_sparse(const DiskConfig& disk, const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT) return {};
  const off_t at = fd.valid() ? ::lseek(fd.get(), 0, SEEK_DATA) : -1;
  if (at < 0 && errno == ENXIO) return {};
  if (at < 0)
    return Error{Errc::io, fmt::format("disk {}: looking for data in {}: {}", disk.options.name,
                                       path, std::strerror(errno))};
  return left_alone(
      disk,
      fmt::format("{} holds data (at byte {}), but there is no superblock beside it", path, at),
      "Restore the file \"super\" if the disk's is lost, or choose another directory");
}

Result<void> expect_vacant(const DiskConfig& disk) {
  std::error_code failed;
  fs::directory_iterator entries(disk.cloud.directory, failed);
  // Not there yet, or no directory: creating it says so.
  if (failed) return {};
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (std::find(kOwnNames.begin(), kOwnNames.end(), name) == kOwnNames.end())
      return left_alone(disk,
                        fmt::format("{} has something else in it ({})", disk.cloud.directory, name),
                        "Name a directory of the disk's own");
  }
  return expect_sparse(disk, disk.cloud.directory + "/base");
}

Result<VolumeFound> make_in_directory(const DiskConfig& disk) {
  std::error_code failed;
  const fs::file_status super = fs::symlink_status(disk.cloud.directory + "/super", failed);
  if (fs::exists(super)) return VolumeFound::exists;
  const Result<void> vacant = expect_vacant(disk);
  if (!vacant) return vacant.error();
  const Result<void> made =
      FileCloudVolume::create(disk.cloud.directory, disk.options.size_bytes, disk.cloud_log_bytes);
  if (made) return VolumeFound::made;
  if (made.error().code == Errc::exists) return VolumeFound::exists;
  return made.error();
}

// Exports are the server's to make; all that can be done is to see that they are empty.
Result<VolumeFound> find_exports(const DiskConfig& disk) {
  const auto exists = nbd_volume_exists(disk.cloud.nbd);
  if (!exists) return exists.error();
  if (exists.value()) return VolumeFound::exists;
  const Result<void> vacant =
      expect_vacant_nbd(disk.cloud.nbd, disk.options.size_bytes, kMinCloudLogBytes);
  if (!vacant) return vacant.error();
  return VolumeFound::made;
}

}  // namespace

Result<VolumeFound> make_volume(const DiskConfig& disk) {
  LATTE_CHECK(disk.cloud.kind != CloudKind::none);
  auto made = disk.cloud.kind == CloudKind::nbd ? find_exports(disk)
              : disk.cloud.kind == CloudKind::rbd
                  ? create_rbd_volume(disk.cloud.rbd, disk.options.size_bytes, disk.cloud_log_bytes)
                  : make_in_directory(disk);
  if (made || made.error().message.starts_with("disk ")) return made;
  return Error{made.error().code,
               fmt::format("disk {}: {}", disk.options.name, made.error().message)};
}

}  // namespace latte
