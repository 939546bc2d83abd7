// volume create, ls, rm and resize: through the running server, if there is one.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "control/config_values.h"
#include "control/control_client.h"
#include "control/volume_command.h"

namespace latte {
namespace {

using Json = nlohmann::ordered_json;

Result<Json> change(const Config& config, const VolumeCommand& command) {
  if (!config.control_socket.empty()) {
    const auto answer = ask_volume(config.control_socket, command);
    if (answer || answer.error().code != Errc::not_found) return answer;
  }
  const auto done = change_volumes_offline(config, command);
  if (!done) return done.error();
  return volumes_json(done.value());
}

// What has become of the volume.
const char* done_text(VolumeCommand::Action action) {
  switch (action) {
    case VolumeCommand::Action::create:
      return "created";
    case VolumeCommand::Action::rm:
      return "removed";
    case VolumeCommand::Action::resize:
      return "resized";
    case VolumeCommand::Action::ls:
      break;
  }
  return "listed";
}

}  // namespace

int run_volume(const Arguments& arguments) {
  const auto config = read_config(arguments);
  if (!config) return report(config.error(), kExitCannotRun);
  VolumeCommand command = arguments.volume;
  if (!arguments.volume_size.empty()) {
    const auto size = parse_size(arguments.volume_size);
    if (!size)
      return report(
          {Errc::invalid, fmt::format("size {} {}", arguments.volume_size, size.error().message)},
          kExitCannotRun);
    command.options.size_bytes = size.value();
  }
  if (config.value().pool.volumes_bytes == 0)
    return report({Errc::invalid, config.value().file +
                                      ": pool.volumes is missing; volumes need room on the pool's "
                                      "device"},
                  kExitCannotRun);
  const auto done = change(config.value(), command);
  if (!done) return report(done.error(), kExitFailed);
  if (command.action != VolumeCommand::Action::ls)
    fmt::print("volume {}: {}\n", command.options.name, done_text(command.action));
  else if (arguments.json)
    fmt::print("{}\n", done.value().dump());
  else
    fmt::print("{}", volumes_text(done.value()));
  return kExitOk;
}

}  // namespace latte
