#include "device/file_lock.h"

#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <vector>

#include "base/check.h"
#include "device/file_error.h"

namespace latte {
namespace {

/// More holders than these are not named.
constexpr size_t kMaxNamedHolders = 8;

std::string process_name(int pid) {
  std::ifstream file(fmt::format("/proc/{}/comm", pid));
  std::string name;
  std::getline(file, name);
  return name.empty() ? fmt::format("process {}", pid) : fmt::format("process {} ({})", pid, name);
}

}  // namespace

LockOutcome try_lock(int fd, LockKind kind) {
  LATTE_CHECK(fd >= 0);
  const int operation = (kind == LockKind::shared ? LOCK_SH : LOCK_EX) | LOCK_NB;
  int result = 0;
  do {
    result = ::flock(fd, operation);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return LockOutcome::taken;
  return errno == EWOULDBLOCK ? LockOutcome::held_by_other : LockOutcome::failed;
}

void unlock(int fd) { LATTE_CHECK(::flock(fd, LOCK_UN) == 0); }

std::string lock_holders(int fd) {
  struct stat info {};
  LATTE_CHECK(::fstat(fd, &info) == 0);
  std::ifstream locks("/proc/locks");
  std::vector<std::string> same_device;
  std::vector<std::string> same_inode;  // some file systems show another device number there
  std::string line;
  while (std::getline(locks, line)) {
    int pid = 0;
    unsigned major_number = 0;
    unsigned minor_number = 0;
    uint64_t inode = 0;
    // "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF"; waiters have "->" before the type.
    if (std::sscanf(line.c_str(), "%*d: FLOCK %*s %*s %d %x:%x:%" SCNu64, &pid, &major_number,
                    &minor_number, &inode) != 4)
      continue;
    if (inode != info.st_ino || pid <= 0 || same_inode.size() >= kMaxNamedHolders) continue;
    same_inode.push_back(process_name(pid));
    if (makedev(major_number, minor_number) == info.st_dev)
      same_device.push_back(same_inode.back());
  }
  const auto& holders = same_device.empty() ? same_inode : same_device;
  if (holders.empty()) return "another process";
  std::string text;
  for (const std::string& holder : holders) text += (text.empty() ? "" : ", ") + holder;
  return text;
}

Result<void> lock_exclusive(int fd, const std::string& path) {
  switch (try_lock(fd, LockKind::exclusive)) {
    case LockOutcome::taken:
      return {};
    case LockOutcome::failed:
      return file_error("lock", path, errno);
    case LockOutcome::held_by_other:
      break;
  }
  return Error{Errc::busy,
               fmt::format("{} is in use by {}; stop it first", path, lock_holders(fd))};
}

}  // namespace latte
