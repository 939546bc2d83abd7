// snapshot create, list and rm, through the running server; rollback and clone, without one.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "control/clone.h"
#include "control/config_values.h"
#include "control/control_client.h"
#include "control/json_values.h"
#include "control/offline.h"

namespace latte {
namespace {

using Json = nlohmann::ordered_json;

int list(const Config& config, const Arguments& arguments) {
  const auto snapshots = ask_snapshots(config.control_socket, arguments.disk);
  if (!snapshots) return report(snapshots.error(), kExitFailed);
  if (arguments.json) {
    fmt::print("{}\n", snapshots.value().dump());
    return kExitOk;
  }
  for (const Json& one : snapshots.value()) {
    const auto taken = static_cast<std::time_t>(value_of(one, "taken", 0.0));
    fmt::print("{:24} {:%Y-%m-%d %H:%M:%S} UTC  {}\n", value_of(one, "name", std::string("?")),
               fmt::gmtime(taken), format_size(value_of(one, "size_bytes", uint64_t{0})));
  }
  return kExitOk;
}

}  // namespace

int run_snapshot(const Arguments& arguments) {
  const auto config = read_config(arguments);
  if (!config) return report(config.error(), kExitCannotRun);
  const Result<void> hybrid = check_hybrid(config.value(), arguments.disk);
  if (!hybrid) return report(hybrid.error(), kExitCannotRun);
  if (arguments.snapshot.action == "rollback") {
    const auto rolled = roll_back_disk(config.value(), arguments.disk, arguments.snapshot.name);
    if (!rolled) return report(rolled.error(), kExitFailed);
    fmt::print("disk {}: {}\n", arguments.disk, rolled.value());
    return kExitOk;
  }
  const Result<void> reachable = check_control_socket(config.value());
  if (!reachable) return report(reachable.error(), kExitCannotRun);
  if (arguments.snapshot.action == "list") return list(config.value(), arguments);
  const auto done = ask_snapshot(config.value().control_socket, arguments.snapshot.action,
                                 arguments.disk, arguments.snapshot.name);
  if (!done) return report(done.error(), kExitFailed);
  fmt::print("disk {}: {}\n", arguments.disk, done.value());
  return kExitOk;
}

int run_clone(const Arguments& arguments) {
  const auto config = read_config(arguments);
  if (!config) return report(config.error(), kExitCannotRun);
  const auto made =
      clone_disk(config.value(), arguments.disk, arguments.snapshot.name, arguments.snapshot.clone);
  if (!made) return report(made.error(), kExitFailed);
  fmt::print("disk {}: {}\n", arguments.snapshot.clone, made.value());
  return kExitOk;
}

}  // namespace latte
