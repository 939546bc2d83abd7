#include "control/hook_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/check.h"
#include "device/unique_fd.h"

namespace latte {
namespace {

constexpr int kLookMs = 20;

/// What posix_spawn() is told; freed when it goes out of scope.
class SpawnSetup {
 public:
  explicit SpawnSetup(int output) {
    LATTE_CHECK(::posix_spawn_file_actions_init(&files_) == 0);
    LATTE_CHECK(::posix_spawnattr_init(&attributes_) == 0);
    ::posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&files_, output, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&files_, output, STDERR_FILENO);
    // The server blocks and ignores signals; a program must find them as it expects.
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnSetup() {
    ::posix_spawn_file_actions_destroy(&files_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  int spawn(pid_t& pid, const std::vector<std::string>& arguments) const {
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    return ::posix_spawn(&pid, argv[0], &files_, &attributes_, argv.data(), environ);
  }

 private:
  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
};

/// Takes what the program has said by now; false at its end.
bool take_output(int fd, std::string& said) {
  char piece[1024];
  const ssize_t got = ::read(fd, piece, sizeof(piece));
  if (got > 0)
    said.append(piece, std::min(static_cast<size_t>(got), kMaxHookOutputBytes - said.size()));
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

Error hook_error(Errc code, const std::string& program, const std::string& what, std::string said) {
  while (!said.empty() && said.back() == '\n') said.pop_back();
  std::replace(said.begin(), said.end(), '\n', ' ');
  return Error{
      code, fmt::format("hook {}: {}{}{}", program, what, said.empty() ? "" : "; it said: ", said)};
}

Result<std::string> outcome(const std::string& program, int status, std::string said) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return said;
  const std::string what = WIFEXITED(status)
                               ? fmt::format("ended with status {}", WEXITSTATUS(status))
                               : fmt::format("was killed by signal {}", WTERMSIG(status));
  return hook_error(Errc::io, program, what, std::move(said));
}

}  // namespace

Result<std::string> run_hook(const std::vector<std::string>& arguments, TimeNs limit_ns,
                             const std::stop_token& stop) {
  LATTE_CHECK(!arguments.empty());
  const std::string& program = arguments[0];
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return hook_error(Errc::io, program, fmt::format("pipe: {}", std::strerror(errno)), "");
  const UniqueFd out(ends[0]);
  UniqueFd in(ends[1]);
  LATTE_CHECK(::fcntl(out.get(), F_SETFL, O_NONBLOCK) == 0);
  pid_t pid = 0;
  const int failed = SpawnSetup(in.get()).spawn(pid, arguments);
  if (failed != 0)
    return hook_error(
        failed == ENOENT ? Errc::not_found : Errc::io, program,
        fmt::format("can't be started: {}; check its path and permissions", std::strerror(failed)),
        "");
  in = UniqueFd();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::nanoseconds(limit_ns);
  std::string said;
  bool open = true;
  for (;;) {
    pollfd polled{out.get(), POLLIN, 0};
    ::poll(&polled, open ? 1 : 0, kLookMs);
    if (open && polled.revents != 0) open = take_output(out.get(), said);
    int status = 0;
    const pid_t ended = ::waitpid(pid, &status, WNOHANG);
    if (ended == pid) {
      while (open && said.size() < kMaxHookOutputBytes) {
        const size_t had = said.size();
        open = take_output(out.get(), said) && said.size() > had;
      }
      return outcome(program, status, std::move(said));
    }
    const bool late = std::chrono::steady_clock::now() >= deadline;
    if (!late && !stop.stop_requested()) continue;
    ::kill(-pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    if (!late) return hook_error(Errc::busy, program, "was ended, since the server stops", "");
    return hook_error(Errc::io, program,
                      fmt::format("did not end within {:.1f} s and was killed",
                                  static_cast<double>(limit_ns) / static_cast<double>(kSecond)),
                      std::move(said));
  }
}

}  // namespace latte
