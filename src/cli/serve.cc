// create and serve.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string_view>

#include "base/logging.h"
#include "cli/commands.h"
#include "cli/stop_signals.h"
#include "control/config.h"
#include "control/control_client.h"
#include "control/control_server.h"
#include "control/create.h"
#include "control/http_server.h"
#include "control/server.h"
#include "control/service_notify.h"

namespace latte {
namespace {

Result<void> open_control(Server& server, std::unique_ptr<ControlServer>& control,
                          std::unique_ptr<HttpServer>& http) {
  const Config& config = server.config();
  if (!config.control_socket.empty()) {
    auto started = ControlServer::start(server, config.control_socket);
    if (!started) return started.error();
    control = started.take();
  }
  if (config.http) {
    auto started = HttpServer::start(server, *config.http);
    if (!started) return started.error();
    http = started.take();
  }
  return {};
}

// A service manager that can't be told is no reason not to serve.
void tell_service_manager(std::string_view state) {
  const Result<void> told = notify_service(state);
  if (!told) log_warning("{}", told.error().message);
}

}  // namespace

// Lets the running server, if there is one, stop in order.
Result<void> stop_running(const Config& config) {
  if (config.control_socket.empty())
    return Error{Errc::invalid, config.file +
                                    ": control.socket is missing; without it --replace "
                                    "can't tell the running server to stop"};
  const Result<void> stopped = ask_stop(config.control_socket);
  if (!stopped && stopped.error().code == Errc::not_found) return {};
  return stopped;
}

int run_create(const Arguments& arguments) {
  const auto config = read_config(arguments);
  if (!config) return report(config.error(), kExitCannotRun);
  const Result<void> made = create_missing(config.value(), [](const std::string& line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  });
  return made ? kExitOk : report(made.error(), kExitFailed);
}

int run_serve(const Arguments& arguments) {
  const auto config = read_config(arguments);
  if (!config) return report(config.error(), kExitCannotRun);
  StopSignals signals;
  if (arguments.replace) {
    const Result<void> stopped = stop_running(config.value());
    if (!stopped) return report(stopped.error(), kExitFailed);
  }
  auto server =
      Server::start(config.value(), Server::Options{arguments.keep_going, arguments.standby});
  if (!server) return report(server.error(), kExitFailed);
  std::unique_ptr<ControlServer> control;
  std::unique_ptr<HttpServer> http;
  const Result<void> open = open_control(*server.value(), control, http);
  if (!open) return report(open.error(), kExitFailed);
  fmt::print("ready\n");
  std::fflush(stdout);
  tell_service_manager(kServiceReady);
  signals.wait();
  tell_service_manager(kServiceStopping);
  // First the disks, which also ends drains that control clients wait for.
  const Result<void> stopped = server.value()->stop();
  return stopped ? kExitOk : report(stopped.error(), kExitFailed);
}

}  // namespace latte
