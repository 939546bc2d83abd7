// status and drain: from the running server, if there is one.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "control/config.h"
#include "control/control_client.h"
#include "control/offline.h"
#include "control/progress_printer.h"
#include "control/status.h"

namespace latte {
namespace {

Result<void> drain_online(const Config& config, const std::string& disk_name) {
  for (const DiskConfig& disk : config.disks) {
    if (!disk_name.empty() && disk.options.name != disk_name) continue;
    if (disk.kind == DiskKind::local) continue;
    Progress progress;
    const ProgressPrinter printer("disk " + disk.options.name + ": draining", progress);
    const Result<void> drained = ask_drain(config.control_socket, disk.options.name, &progress);
    if (!drained) return drained;
  }
  return {};
}

Result<void> drain(const Config& config, const std::string& disk_name) {
  if (!config.control_socket.empty()) {
    const Result<void> drained = drain_online(config, disk_name);
    if (drained || drained.error().code != Errc::not_found) return drained;
  }
  return drain_offline(config, disk_name);
}

}  // namespace

Result<void> check_control_socket(const Config& config) {
  if (!config.control_socket.empty()) return {};
  return Error{Errc::invalid,
               config.file + ": control.socket is missing; without it nobody can ask the server"};
}

int run_status(const Arguments& arguments) {
  const auto config = read_config(arguments);
  if (!config) return report(config.error(), kExitCannotRun);
  const Result<void> reachable = check_control_socket(config.value());
  if (!reachable) return report(reachable.error(), kExitCannotRun);
  const auto status = ask_status(config.value().control_socket);
  if (!status) return report(status.error(), kExitFailed);
  if (arguments.json)
    fmt::print("{}\n", status.value().dump());
  else
    fmt::print("{}", status_text(status.value()));
  return kExitOk;
}

int run_drain(const Arguments& arguments) {
  const auto config = read_config(arguments);
  if (!config) return report(config.error(), kExitCannotRun);
  const Result<void> known =
      arguments.disk.empty() ? Result<void>() : check_hybrid(config.value(), arguments.disk);
  if (!known) return report(known.error(), kExitCannotRun);
  const Result<void> drained = drain(config.value(), arguments.disk);
  if (!drained) return report(drained.error(), kExitFailed);
  fmt::print("{}: clean\n", arguments.disk.empty() ? "all disks" : "disk " + arguments.disk);
  return kExitOk;
}

}  // namespace latte
