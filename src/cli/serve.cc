// create and serve.
#include <fmt/format.h>

#include <cstdio>

#include "base/logging.h"
#include "cli/commands.h"
#include "cli/stop_signals.h"
#include "control/config.h"
#include "control/create.h"
#include "control/server.h"

namespace latte {

int run_create(const Arguments& arguments) {
  const auto config = load_config(arguments.config_file);
  if (!config) return report(config.error(), kExitCannotRun);
  const Result<void> made = create_missing(config.value(), [](const std::string& line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  });
  return made ? kExitOk : report(made.error(), kExitFailed);
}

int run_serve(const Arguments& arguments) {
  const auto config = load_config(arguments.config_file);
  if (!config) return report(config.error(), kExitCannotRun);
  StopSignals signals;
  auto server = Server::start(config.value(), Server::Options{arguments.keep_going});
  if (!server) return report(server.error(), kExitFailed);
  fmt::print("ready\n");
  std::fflush(stdout);
  signals.wait();
  server.value()->stop();
  return kExitOk;
}

}  // namespace latte
