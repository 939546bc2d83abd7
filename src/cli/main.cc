// latte: the command line.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/logging.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "control/control_request.h"
#include "device/rbd_cloud_volume.h"

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

// `latte model ACTION`: models only; none of them needs a configuration.
void add_model_actions(CLI::App& sub, ModelCommand& model) {
  sub.require_subcommand(1);
  CLI::App* predict = sub.add_subcommand("predict", "How well the dispatcher predicts, by regime");
  predict->add_option("--train-seeds", model.prediction.train_seeds, "Seeds to learn from")
      ->check(CLI::Range(1, 1000));
  predict->add_option("--test-seeds", model.prediction.test_seeds, "Other seeds, to be reported")
      ->check(CLI::Range(1, 1000));
  predict->add_option("--first-test-seed", model.prediction.first_test_seed, "The first of them")
      ->check(CLI::Range(1001, 1000000000));
  predict->add_option("--requests", model.prediction.requests, "I/Os of each run")
      ->check(CLI::Range(1000, 10000000));
  predict->add_option("--log", model.prediction.logs, "A drive's latency log; may be repeated");
  predict->callback([&model] { model.action = ModelCommand::Action::predict; });
  CLI::App* fit = sub.add_subcommand("fit", "Measure a file or device, and fit the NVMe model");
  fit->add_option("FILE", model.probe.path, "An existing file or block device")->required();
  fit->add_flag("--overwrite", model.probe.write, "Measure writes too: destroys its contents");
  fit->add_option("--seconds", model.probe.point_seconds, "For each point")
      ->check(CLI::Range(0.05, 30.0));
  fit->callback([&model] { model.action = ModelCommand::Action::fit; });
}

void add_snapshot_actions(CLI::App& sub, Arguments& arguments) {
  sub.require_subcommand(1);
  const std::pair<const char*, const char*> items[] = {
      {"create", "Keep the disk as it is now under a name"},
      {"list", "List the disk's snapshots, oldest first"},
      {"rm", "Remove a snapshot"},
      {"rollback", "Make the disk, which nobody serves, what it was then"}};
  for (const auto& [name, summary] : items) {
    CLI::App* child = sub.add_subcommand(name, summary);
    add_config(*child, arguments);
    child->add_option("DISK", arguments.disk, "Its name")->required();
    const std::string action = name;
    if (action == "list")
      child->add_flag("--json", arguments.json, "Print JSON on one line");
    else
      child->add_option("NAME", arguments.snapshot.name, "The snapshot's name")->required();
    child->callback([&arguments, action] { arguments.snapshot.action = action; });
  }
}

void add_clone_options(CLI::App& sub, Arguments& arguments) {
  add_config(sub, arguments);
  sub.add_option("DISK", arguments.disk, "The disk that has the snapshot")->required();
  sub.add_option("SNAPSHOT", arguments.snapshot.name, "The snapshot's name")->required();
  sub.add_option("CLONE", arguments.snapshot.clone, "The new disk, of this configuration")
      ->required();
}

void add_trace_actions(CLI::App& sub, Arguments& arguments) {
  sub.require_subcommand(1);
  CLI::App* record = sub.add_subcommand("record", "Write down what clients ask of a disk");
  add_config(*record, arguments);
  record->add_option("DISK", arguments.disk, "Its name")->required();
  record->add_option("FILE", arguments.trace.file, "A new file; .zst and .gz are packed")
      ->required();
  record->add_option("--seconds", arguments.trace.seconds, "For so long")
      ->check(CLI::Range(1u, kMaxRecordSeconds))
      ->capture_default_str();
}

void add_replay_options(CLI::App& sub, Arguments& arguments) {
  ReplayArguments& replay = arguments.replay;
  CLI::Option* traces = sub.add_option("TRACE", replay.traces, "Files with traces");
  CLI::Option* paper = sub.add_flag("--paper", replay.paper,
                                    "The paper's tables on device models, ours beside theirs");
  paper->excludes(traces);
  sub.add_option("--requests", replay.requests, "With --paper: I/Os of each point")
      ->check(CLI::Range(1000, 100000000));
  sub.add_option("--policy", replay.policies, "Policies; all if left out")->delimiter(',');
  sub.add_option("--size", replay.sizes, "Cache sizes: of the footprint (25%), or bytes (512MiB)")
      ->delimiter(',')
      ->capture_default_str();
  sub.add_option("--format", replay.format,
                 "The traces' form; told by their beginning if left out");
  sub.add_option("--device", replay.device, "Of a trace of several: USR.0, 8,16 or a file name");
  sub.add_option("--event", replay.event, "Of blkparse: Q queued, D issued, C completed")
      ->capture_default_str();
  sub.add_flag("--lenient", replay.lenient, "Skip bad records and count them");
  sub.add_option("--seed", replay.seed, "For policies that draw lots")->capture_default_str();
  sub.add_option("--jobs", replay.jobs, "Threads; one a core if left out");
  sub.add_flag("--engine", replay.engine,
               "Through the engine, in virtual time; sizes are the pool's");
  sub.add_option("--drive", replay.drive, "With --engine: gen3 or gen4")->capture_default_str();
  sub.add_option("--cloud", replay.cloud, "With --engine: ebs, ebsx, gp2, gp3 or essd")
      ->capture_default_str();
  sub.add_option(
         "--admission", replay.admissions,
         "With --engine: what the pool admits of what reads miss: none, all, s3fifo, adaptive")
      ->delimiter(',')
      ->capture_default_str();
  sub.add_option("--dispatcher", replay.dispatchers,
                 "With --engine: where reads go that both tiers could answer: local, wait, svm")
      ->delimiter(',')
      ->capture_default_str();
  sub.add_flag("--alone", replay.alone,
               "With --engine: also the drive and the cloud by themselves, without Latte");
  sub.add_option("--speed", replay.speed, "With --engine: times faster than the trace")
      ->capture_default_str();
  sub.add_option("-c,--config", arguments.config_file,
                 "With --engine: a configuration whose [price] table says what the cloud takes");
  sub.add_option("--html", replay.html_file, "Write a page with plots to this file");
  sub.add_flag("--json", arguments.json, "Print JSON (docs/reference/replay.md) on one line");
}

int run(int argc, char** argv) {
  const Command commands[] = {
      {"create", run_create, kCreateHelp},       {"serve", run_serve, kServeHelp},
      {"status", run_status, kStatusHelp},       {"drain", run_drain, kDrainHelp},
      {"check", run_check, kCheckHelp},          {"takeover", run_takeover, kTakeoverHelp},
      {"handover", run_handover, kHandoverHelp}, {"resize", run_resize, kResizeHelp},
      {"volume", run_volume, kVolumeHelp},       {"model", run_model, kModelHelp},
      {"replay", run_replay, kReplayHelp},       {"trace", run_trace, kTraceHelp},
      {"snapshot", run_snapshot, kSnapshotHelp}, {"clone", run_clone, kCloneHelp},
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
    else if (name == "model")
      add_model_actions(*sub, arguments.model);
    else if (name == "replay")
      add_replay_options(*sub, arguments);
    else if (name == "trace")
      add_trace_actions(*sub, arguments);
    else if (name == "snapshot")
      add_snapshot_actions(*sub, arguments);
    else if (name == "clone")
      add_clone_options(*sub, arguments);
    else
      add_config(*sub, arguments);
    if (name == "serve") {
      sub->add_flag("--keep-going", arguments.keep_going,
                    "Serve the disks that can be served if others can't");
      sub->add_flag("--standby", arguments.standby,
                    "Let the disks of other hosts wait for `latte takeover`");
      sub->add_flag("--replace", arguments.replace,
                    "Let the running server stop first, and go on in its place");
    }
    if (name == "status")
      sub->add_flag("--json", arguments.json, "Print JSON (docs/reference/status.md) on one line");
    if (name == "drain") sub->add_option("DISK", arguments.disk, "Its name; all disks if left out");
    if (name == "takeover")
      sub->add_option("--force-unfenced", arguments.force_disk_id,
                      "The disk's id: take it over from an owner that may be alive")
          ->type_name("DISKID");
    if (name == "takeover" || name == "handover" || name == "resize")
      sub->add_option("DISK", arguments.disk, "Its name")->required();
    if (name == "resize") {
      sub->add_option("SIZE", arguments.size, "Such as 20GiB")->required();
      sub->add_flag("--force", arguments.force, "It may become smaller over data, which is lost");
    }
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
  const int status = latte::run(argc, argv);
  if (latte::rbd_left_hanging()) {
    // Its threads may be anywhere; the destructors behind main() would pull the ground from under
    // them.
    std::fflush(nullptr);
    std::_Exit(status);
  }
  return status;
}
