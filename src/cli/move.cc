// takeover and handover: through the running server, if there is one.
#include <fmt/format.h>

#include "cli/commands.h"
#include "control/config.h"
#include "control/control_client.h"
#include "control/offline.h"

namespace latte {
namespace {

Result<std::string> take_over(const Config& config, const Arguments& arguments) {
  const std::string& disk_name = arguments.disk;
  // What nobody should do by habit is not done through a server.
  if (!arguments.force_disk_id.empty())
    return take_over_offline(config, disk_name, arguments.force_disk_id);
  if (!config.control_socket.empty()) {
    auto taken = ask_move(config.control_socket, "takeover", disk_name);
    if (taken || taken.error().code != Errc::not_found) return taken;
  }
  return take_over_offline(config, disk_name);
}

Result<std::string> hand_over(const Config& config, const Arguments& arguments) {
  const std::string& disk_name = arguments.disk;
  if (!config.control_socket.empty()) {
    auto handed = ask_move(config.control_socket, "handover", disk_name);
    if (handed || handed.error().code != Errc::not_found) return handed;
  }
  return hand_over_offline(config, disk_name);
}

int run_move(const Arguments& arguments,
             Result<std::string> (*move)(const Config& config, const Arguments& arguments)) {
  const auto config = read_config(arguments);
  if (!config) return report(config.error(), kExitCannotRun);
  const Result<void> hybrid = check_hybrid(config.value(), arguments.disk);
  if (!hybrid) return report(hybrid.error(), kExitCannotRun);
  const auto moved = move(config.value(), arguments);
  if (moved) {
    fmt::print("disk {}: {}\n", arguments.disk, moved.value());
    return kExitOk;
  }
  const Errc code = moved.error().code;
  const bool not_begun = code == Errc::busy || code == Errc::not_found;
  return report(moved.error(), not_begun ? kExitCannotRun : kExitFailed);
}

}  // namespace

int run_takeover(const Arguments& arguments) { return run_move(arguments, take_over); }

int run_handover(const Arguments& arguments) { return run_move(arguments, hand_over); }

}  // namespace latte
