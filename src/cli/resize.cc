// resize: through the running server, if there is one.
#include <fmt/format.h>

#include "cli/commands.h"
#include "control/config_values.h"
#include "control/control_client.h"
#include "control/offline.h"

namespace latte {
namespace {

Result<std::string> resize(const Config& config, const Arguments& arguments, uint64_t size_bytes) {
  if (!config.control_socket.empty()) {
    auto resized = ask_resize(config.control_socket, arguments.disk, size_bytes, arguments.force);
    if (resized || resized.error().code != Errc::not_found) return resized;
  }
  return resize_offline(config, arguments.disk, size_bytes, arguments.force);
}

}  // namespace

int run_resize(const Arguments& arguments) {
  const auto config = read_config(arguments);
  if (!config) return report(config.error(), kExitCannotRun);
  const Result<void> known = check_disk(config.value(), arguments.disk);
  if (!known) return report(known.error(), kExitCannotRun);
  const auto size = parse_size(arguments.size);
  if (!size)
    return report({Errc::invalid, fmt::format("size {} {}", arguments.size, size.error().message)},
                  kExitCannotRun);
  const auto resized = resize(config.value(), arguments, size.value());
  if (!resized) return report(resized.error(), kExitFailed);
  fmt::print("disk {}: {}\n", arguments.disk, resized.value());
  return kExitOk;
}

}  // namespace latte
