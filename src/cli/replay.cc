// replay: traces through cache policies.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "cli/commands.h"
#include "replay/block_trace.h"
#include "replay/cache_replay.h"
#include "replay/cache_report.h"

namespace latte {
namespace {

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

}  // namespace

int run_replay(const Arguments& arguments) {
  const ReplayArguments& wanted = arguments.replay;
  const auto trace_read = trace_options(wanted);
  if (!trace_read) return report(trace_read.error(), kExitCannotRun);
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
  if (arguments.json) fmt::print("{}\n", replay::to_json(results, wanted.seed));
  if (!wanted.html_file.empty()) {
    const auto written = write_file(wanted.html_file, replay::to_html(results, wanted.seed));
    if (!written) return report(written.error(), kExitFailed);
  }
  return kExitOk;
}

}  // namespace latte
