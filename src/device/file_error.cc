#include "device/file_error.h"

#include <fmt/core.h>

#include <cerrno>
#include <cstring>

namespace latte {
namespace {

struct Advice {
  Errc code;
  const char* remedy;
};

Advice advice_for(int error_number) {
  switch (error_number) {
    case ENOENT:
      return {Errc::not_found, "check the path, or create it with `latte create`"};
    case ENOTDIR:
      return {Errc::invalid, "a part of the path is not a directory; check the path"};
    case EISDIR:
      return {Errc::invalid, "it is a directory; name a file or a block device"};
    case EEXIST:
      return {Errc::exists, "it was left alone; name another path, or remove it yourself"};
    case EACCES:
    case EPERM:
      return {Errc::io, "run as a user who may read and write it, or change its permissions"};
    case EROFS:
      return {Errc::io, "the file system is read-only; mount it read-write"};
    case ENOSPC:
    case EDQUOT:
      return {Errc::no_space, "free space there, or choose a smaller size"};
    case EFBIG:
      return {Errc::no_space, "the file system or `ulimit -f` does not allow so large a file"};
    case EMFILE:
    case ENFILE:
      return {Errc::no_space, "raise the limit of open files (ulimit -n)"};
    case ELOOP:
    case ENAMETOOLONG:
    case EINVAL:
      return {Errc::invalid, "check the path"};
    case EBUSY:
      return {Errc::busy, "something else uses it exclusively (a mount, RAID, LVM?)"};
    default:
      return {Errc::io, "look into the kernel log (dmesg) and check the drive"};
  }
}

}  // namespace

Error file_error(const std::string& action, const std::string& path, int error_number) {
  const Advice advice = advice_for(error_number);
  return Error{advice.code, fmt::format("cannot {} {}: {}; {}", action, path,
                                        std::strerror(error_number), advice.remedy)};
}

}  // namespace latte
