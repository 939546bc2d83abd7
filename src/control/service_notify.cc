#include "control/service_notify.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/check.h"
#include "device/unique_fd.h"

namespace latte {

Result<void> notify_service(std::string_view state) {
  LATTE_CHECK(!state.empty());
  const char* variable = std::getenv("NOTIFY_SOCKET");
  if (variable == nullptr || *variable == '\0') return {};
  const std::string path = variable;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const bool abstract = path.front() == '@';
  if ((!abstract && path.front() != '/') || path.size() >= sizeof(address.sun_path))
    return Error{
        Errc::invalid,
        fmt::format("NOTIFY_SOCKET={}: is neither an absolute path nor @NAME of at most {} "
                    "bytes; the service manager sets it",
                    path, sizeof(address.sun_path) - 1)};
  std::memcpy(address.sun_path, path.data(), path.size());
  if (abstract) address.sun_path[0] = '\0';
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid())
    return Error{Errc::io, fmt::format("NOTIFY_SOCKET={}: socket: {}", path, std::strerror(errno))};
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const ssize_t sent = ::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
                                reinterpret_cast<const sockaddr*>(&address), length);
  if (sent == static_cast<ssize_t>(state.size())) return {};
  return Error{Errc::io, fmt::format("NOTIFY_SOCKET={}: {}", path, std::strerror(errno))};
}

}  // namespace latte
