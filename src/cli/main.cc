// latte: the command line.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "base/logging.h"
#include "cli/commands.h"
#include "cli/help.h"

namespace latte {

int report(const Error& error, int status) {
  fmt::print(stderr, "latte: {}\n", error.message);
  return status;
}

Result<Config> read_config(const Arguments& arguments) {
  auto config = load_config(arguments.config_file);
  if (config) set_log_level(config.value().log_level);
  return config;
}

namespace {

struct Command {
  const char* name;
  int (*run)(const Arguments& arguments);
  const CommandHelp& help;
};

void add_config(CLI::App& sub, Arguments& arguments) {
  sub.add_option("-c,--config", arguments.config_file, "The configuration file")
      ->required()
      ->type_name("FILE");
}

// `latte volume ACTION`: each has the options it needs.
void add_volume_actions(CLI::App& sub, Arguments& arguments) {
  struct Item {
    const char* name;
    const char* summary;
    VolumeCommand::Action action;
  };
  using Action = VolumeCommand::Action;
  const Item items[] = {{"create", "Make a volume that reads as zeroes", Action::create},
                        {"ls", "List the volumes", Action::ls},
                        {"rm", "Remove a volume that is not served", Action::rm},
                        {"resize", "Change a volume's size", Action::resize}};
  sub.require_subcommand(1);
  for (const Item& item : items) {
    CLI::App* child = sub.add_subcommand(item.name, item.summary);
    add_config(*child, arguments);
    if (item.action != Action::ls)
      child->add_option("NAME", arguments.volume.options.name, "The volume's name")->required();
    if (item.action == Action::create || item.action == Action::resize)
      child->add_option("SIZE", arguments.volume_size, "Such as 20GiB")->required();
    if (item.action == Action::create)
      child->add_flag("--thin", arguments.volume.options.thin, "Give it space as it is written");
    if (item.action == Action::resize)
      child->add_flag("--force", arguments.volume.force, "It may become smaller; its end is lost");
    if (item.action == Action::ls)
      child->add_flag("--json", arguments.json, "Print JSON on one line");
    child->callback([&arguments, action = item.action] { arguments.volume.action = action; });
  }
}

int run(int argc, char** argv) {
  const Command commands[] = {
      {"create", run_create, kCreateHelp}, {"serve", run_serve, kServeHelp},
      {"status", run_status, kStatusHelp}, {"drain", run_drain, kDrainHelp},
      {"check", run_check, kCheckHelp},    {"takeover", run_takeover, kTakeoverHelp},
      {"volume", run_volume, kVolumeHelp},
  };
  CLI::App app(kMainHelp.summary, "latte");
  app.footer(kMainHelp.details);
  app.set_version_flag("--version", "latte " LATTE_VERSION);
  app.require_subcommand(1);
  Arguments arguments;
  const Command* chosen = nullptr;
  for (const Command& command : commands) {
    CLI::App* sub = app.add_subcommand(command.name, command.help.summary);
    sub->footer(command.help.details);
    const std::string_view name = command.name;
    if (name == "volume")
      add_volume_actions(*sub, arguments);
    else
      add_config(*sub, arguments);
    if (name == "serve") {
      sub->add_flag("--keep-going", arguments.keep_going,
                    "Serve the disks that can be served if others can't");
      sub->add_option("--give-up-write-buffer", arguments.give_up_write_buffer,
                      "Start without the write buffer of this id, which is gone")
          ->type_name("ID");
    }
    if (name == "status")
      sub->add_flag("--json", arguments.json, "Print JSON (docs/reference/status.md) on one line");
    if (name == "drain") sub->add_option("DISK", arguments.disk, "Its name; all disks if left out");
    if (name == "takeover") sub->add_option("DISK", arguments.disk, "Its name")->required();
    sub->callback([&chosen, &command] { chosen = &command; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version are "errors" with exit code 0; CLI11's other codes are its own.
    return app.exit(error) == 0 ? kExitOk : kExitCannotRun;
  }
  return chosen->run(arguments);
}

}  // namespace
}  // namespace latte

int main(int argc, char** argv) {
  // A reader of our output or of a socket that goes away is an error of the write, no reason to
  // die.
  std::signal(SIGPIPE, SIG_IGN);
  return latte::run(argc, argv);
}
