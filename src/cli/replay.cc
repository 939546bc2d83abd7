// replay: traces through cache policies.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/logging.h"
#include "cli/commands.h"
#include "replay/block_trace.h"
#include "replay/cache_replay.h"
#include "replay/cache_report.h"
#include "replay/engine_replay.h"
#include "replay/engine_report.h"

namespace latte {
namespace {

constexpr double kMostSpeed = 1e6;

/// Says on a terminal how far a trace is; nothing elsewhere.
class ReplayProgress {
 public:
  explicit ReplayProgress(std::string what) : what_(std::move(what)), shown_(isatty(2) != 0) {}
  ~ReplayProgress() {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }
  void operator()(double share) {
    const int percent = static_cast<int>(share * 100);
    if (!shown_ || percent == last_percent_) return;
    last_percent_ = percent;
    fmt::print(stderr, "\r{}: {} %\033[K", what_, percent);
    std::fflush(stderr);
  }

 private:
  std::string what_;
  bool shown_;
  int last_percent_ = -1;
};

Result<trace::TraceOptions> trace_options(const ReplayArguments& wanted) {
  trace::TraceOptions options;
  options.lenient = wanted.lenient;
  options.parser.device = wanted.device;
  if (wanted.event.size() != 1)
    return Error{Errc::invalid,
                 fmt::format("--event \"{}\": give one letter, such as Q or D", wanted.event)};
  options.parser.blkparse_event = wanted.event[0];
  if (wanted.format.empty()) return options;
  options.format = trace::trace_format_named(wanted.format);
  if (!options.format)
    return Error{Errc::invalid, fmt::format("--format {}: it is one of {}", wanted.format,
                                            trace::kTraceFormatNames)};
  return options;
}

Result<replay::CacheReplayOptions> replay_options(const ReplayArguments& wanted) {
  replay::CacheReplayOptions options;
  options.seed = wanted.seed;
  options.jobs = wanted.jobs;
  const auto& known = policy::kCachePolicyNames;
  for (const std::string& name : wanted.policies) {
    if (std::find(std::begin(known), std::end(known), name) == std::end(known))
      return Error{Errc::invalid,
                   fmt::format("--policy {}: it is one of {}", name, fmt::join(known, ", "))};
    options.policies.push_back(name);
  }
  if (options.policies.empty()) options.policies.assign(std::begin(known), std::end(known));
  for (const std::string& text : wanted.sizes) {
    const auto size = replay::parse_cache_size(text);
    if (!size) return size.error();
    options.sizes.push_back(size.value());
  }
  return options;
}

Result<void> write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (file) return {};
  return Error{Errc::io, fmt::format("{}: can't be written: {}", path, std::strerror(errno))};
}

/// Prints or writes what was found.
template <typename Results>
int tell(const Arguments& arguments, const Results& results) {
  const ReplayArguments& wanted = arguments.replay;
  if (arguments.json) fmt::print("{}\n", replay::to_json(results, wanted.seed));
  if (wanted.html_file.empty()) return kExitOk;
  const auto written = write_file(wanted.html_file, replay::to_html(results, wanted.seed));
  return written ? kExitOk : report(written.error(), kExitFailed);
}

/// Seed, speed and models, without the pool's size.
Result<replay::EngineReplayOptions> engine_options(const ReplayArguments& wanted) {
  constexpr std::pair<std::string_view, model::NvmeOptions (*)()> kDrives[] = {
      {"gen3", model::nvme_gen3}, {"gen4", model::nvme_gen4}};
  constexpr std::pair<std::string_view, model::CloudOptions (*)()> kClouds[] = {
      {"ebs", model::cloud_ebs},
      {"ebsx", model::cloud_ebsx},
      {"gp2", model::cloud_gp2},
      {"gp3", model::cloud_gp3},
      {"essd", model::cloud_essd}};
  replay::EngineReplayOptions options;
  options.seed = wanted.seed;
  options.speed = wanted.speed;
  if (!(wanted.speed > 0 && wanted.speed <= kMostSpeed))
    return Error{Errc::invalid, fmt::format("--speed {}: give a number above 0, at most {}",
                                            wanted.speed, kMostSpeed)};
  bool drive_known = false, cloud_known = false;
  for (const auto& [name, make] : kDrives)
    if (name == wanted.drive) options.drive = make(), drive_known = true;
  for (const auto& [name, make] : kClouds)
    if (name == wanted.cloud) options.cloud = make(), cloud_known = true;
  if (!drive_known)
    return Error{Errc::invalid, fmt::format("--drive {}: it is gen3 or gen4", wanted.drive)};
  if (!cloud_known)
    return Error{Errc::invalid,
                 fmt::format("--cloud {}: it is one of ebs, ebsx, gp2, gp3, essd", wanted.cloud)};
  return options;
}

/// Every combination of what is to be compared: sizes, admissions, dispatchers.
Result<std::vector<replay::EngineReplayOptions>> engine_runs(const ReplayArguments& wanted,
                                                             replay::EngineReplayOptions options,
                                                             uint64_t footprint_bytes) {
  std::vector<replay::EngineReplayOptions> runs;
  for (const std::string& text : wanted.sizes) {
    const auto size = replay::parse_cache_size(text);
    if (!size) return size.error();
    options.pool_bytes =
        size.value().share > 0
            ? static_cast<uint64_t>(size.value().share * static_cast<double>(footprint_bytes))
            : size.value().bytes;
    for (const std::string& admission : wanted.admissions) {
      const auto mode = policy::admission_mode(admission);
      if (!mode)
        return Error{Errc::invalid, fmt::format("--admission {}: it is {}", admission,
                                                policy::admission_mode_names())};
      options.admission.mode = *mode;
      for (const std::string& dispatcher : wanted.dispatchers) {
        const auto dispatch = dispatch_mode(dispatcher);
        if (!dispatch)
          return Error{Errc::invalid,
                       fmt::format("--dispatcher {}: it is local, wait or svm", dispatcher)};
        options.dispatch = *dispatch;
        runs.push_back(options);
      }
    }
  }
  return runs;
}

Result<replay::EngineResult> run_trace(const std::string& path, const ReplayArguments& wanted,
                                       const replay::EngineReplayOptions& options,
                                       const trace::TraceOptions& trace_read,
                                       const PriceTable& prices) {
  ReplayProgress reading("reading " + path);
  auto loaded = replay::load_request_trace(path, trace_read, std::ref(reading));
  if (!loaded) return loaded.error();
  replay::EngineResult result{loaded.value().name,
                              wanted.speed,
                              {},
                              loaded.value().size_bytes,
                              replay::direct_demand(loaded.value(), wanted.speed),
                              prices,
                              {}};
  const auto runs = engine_runs(wanted, options, loaded.value().footprint_bytes);
  if (!runs) return runs.error();
  for (const replay::EngineReplayOptions& one : runs.value()) {
    ReplayProgress replaying("replaying " + path);
    auto run = replay::replay_engine(loaded.value(), one, std::ref(replaying));
    if (!run) return run.error();
    result.runs.push_back(run.take());
  }
  for (const Tier tier : {Tier::local, Tier::cloud}) {
    if (!wanted.alone) break;
    ReplayProgress replaying("replaying " + path);
    auto run = replay::replay_alone(loaded.value(), options, tier, std::ref(replaying));
    if (!run) return run.error();
    result.alone.push_back(run.take());
  }
  return result;
}

int run_engine(const Arguments& arguments, const trace::TraceOptions& trace_read) {
  const ReplayArguments& wanted = arguments.replay;
  const auto options = engine_options(wanted);
  if (!options) return report(options.error(), kExitCannotRun);
  PriceTable prices;
  if (!arguments.config_file.empty()) {
    const auto config = read_config(arguments);
    if (!config) return report(config.error(), kExitCannotRun);
    prices = config.value().prices;
    if (!prices.any())
      return report(Error{Errc::invalid, fmt::format("{}: there is no [price] table in it",
                                                     arguments.config_file)},
                    kExitCannotRun);
  }
  set_log_level(LogLevel::warning);
  std::vector<replay::EngineResult> results;
  for (const std::string& path : wanted.traces) {
    auto result = run_trace(path, wanted, options.value(), trace_read, prices);
    if (!result) return report(result.error(), kExitFailed);
    results.push_back(result.take());
    if (!arguments.json) fmt::print("{}", replay::to_table(results.back()));
  }
  return tell(arguments, results);
}

}  // namespace

int run_replay(const Arguments& arguments) {
  const ReplayArguments& wanted = arguments.replay;
  if (wanted.paper) {
    study::report_paper({wanted.seed, wanted.requests}, arguments.json, stdout);
    return kExitOk;
  }
  if (wanted.traces.empty())
    return report(Error{Errc::invalid, "name the traces to replay, or give --paper"},
                  kExitCannotRun);
  const auto trace_read = trace_options(wanted);
  if (!trace_read) return report(trace_read.error(), kExitCannotRun);
  if (wanted.engine) return run_engine(arguments, trace_read.value());
  const auto options = replay_options(wanted);
  if (!options) return report(options.error(), kExitCannotRun);
  std::vector<replay::CacheResult> results;
  for (const std::string& path : wanted.traces) {
    ReplayProgress reading("reading " + path);
    auto loaded = replay::load_block_trace(path, trace_read.value(), std::ref(reading));
    if (!loaded) return report(loaded.error(), kExitFailed);
    ReplayProgress replaying("replaying " + path);
    auto runs = replay::replay_cache(loaded.value(), options.value(), std::ref(replaying));
    results.push_back(replay::summarize(loaded.value(), std::move(runs)));
    if (!loaded.value().counts.first_skipped.empty())
      fmt::print(stderr, "latte: skipped {}; the first: {}\n", results.back().skipped,
                 loaded.value().counts.first_skipped);
    if (!arguments.json) fmt::print("{}", replay::to_table(results.back()));
  }
  return tell(arguments, results);
}

}  // namespace latte
