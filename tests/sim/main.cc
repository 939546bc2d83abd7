// latte-sim: the crash simulation's command. Runs seeds in worker processes (a check that fails in
// the engine ends the worker, not the search), prints the first failure of each seed that has one.
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <thread>

#include "base/planted.h"
#include "scenario.h"

namespace latte::simtest {
namespace {

using WallClock = std::chrono::steady_clock;

/// One run takes milliseconds; a worker silent for this long is stuck in a loop without events.
constexpr auto kStuckAfter = std::chrono::seconds(60);
/// Failing seeds are printed up to this many.
constexpr uint64_t kMaxFailuresPrinted = 500;
/// The promise is that a planted bug is found within this many seeds.
constexpr uint64_t kPlantedSeeds = 2000;

struct Options {
  uint64_t seed = 1;
  uint64_t seeds = 0;
  unsigned jobs = 1;
  double time_s = 0;
  std::string plant = "none";
  std::string fence = "any";
  std::string admission = "any";
  std::string dispatch = "any";
  std::string rereads = "any";
  std::string snapshots = "any";
  std::string read_ahead = "any";
  std::string staging = "any";
  std::string seed_file;
  bool trace = false;
  bool fresh = false;
  bool all_plants = false;
  bool keep_going = false;
  bool repeat = false;
  std::vector<std::string> without;
  Spared spared;
};

/// Shared by the workers of one search.
struct Shared {
  std::atomic<uint64_t> next{0};  // index of the next seed to run
  std::atomic<uint64_t> done{0};
  std::atomic<uint64_t> operations{0};
  std::atomic<uint64_t> failures{0};
  std::atomic<bool> stop{false};
  static constexpr unsigned kMaxJobs = 64;
  struct alignas(64) Worker {
    std::atomic<uint64_t> seed{0};
    std::atomic<uint64_t> runs{0};
  } workers[kMaxJobs];
};

struct Search {
  std::vector<RunOptions> listed;  // runs; if empty, first + index
  uint64_t first = 1;
  uint64_t count = 1;
  WallClock::time_point deadline;
  bool has_deadline = false;
  bool stop_at_failure = true;
  bool quiet = false;
  bool repeat = false;  // every seed twice: both runs must be the same to the last event
  Planted bug = Planted::none;
  Spared spared;
  Fence fence = Fence::any;
  Use admission = Use::any;
  Use dispatch = Use::any;
  Use rereads = Use::any;
  Use snapshots = Use::any;
  Use read_ahead = Use::any;
  Use staging = Use::any;

  RunOptions run_at(uint64_t index) const {
    return listed.empty() ? RunOptions{first + index, fence,      admission, dispatch, rereads,
                                       snapshots,     read_ahead, staging,   false,    spared}
                          : listed[index];
  }
  /// REQUIRES: the seed is one of this search.
  RunOptions run_of(uint64_t seed) const {
    const auto same = [&](const RunOptions& run) { return run.seed == seed; };
    const auto found = std::find_if(listed.begin(), listed.end(), same);
    return listed.empty() ? run_at(seed - first) : *found;
  }
};

/// Runs the seed twice; true if both runs did the same.
bool repeats(const RunOptions& options) {
  const uint64_t seed = options.seed;
  uint64_t hash[2];
  for (uint64_t& digest : hash) {
    Run run(options);
    play(run);
    digest = run.world.hash();
  }
  if (hash[0] != hash[1])
    std::printf("seed %lu: NOT DETERMINISTIC, event hashes %016lx and %016lx\n", seed, hash[0],
                hash[1]);
  return hash[0] == hash[1];
}

/// Runs one seed; true if all promises held.
bool run_seed(const RunOptions& options, bool quiet, uint64_t* operations, bool print_ok) {
  const uint64_t seed = options.seed;
  Run run(options);
  play(run);
  *operations = run.operations;
  if (run.failed() && !quiet)
    std::printf(
        "seed %lu: BROKEN PROMISE %s\n  %s\n  at %.3f ms, step %lu, event hash %016lx; "
        "replay: %s\n",
        seed, run.failure->promise.c_str(), run.failure->text.c_str(),
        static_cast<double>(run.world.now()) / 1e6, run.world.steps(), run.world.hash(),
        replay_command(options).c_str());
  if (!run.failed() && print_ok)
    std::printf(
        "seed %lu: fine, %lu operations, %.1f s of virtual time, %lu steps, event hash "
        "%016lx\n",
        seed, run.operations, static_cast<double>(run.world.now()) / 1e9, run.world.steps(),
        run.world.hash());
  std::fflush(stdout);
  return !run.failed();
}

[[noreturn]] void work(const Search& search, Shared& shared, unsigned worker) {
#ifdef LATTE_PLANTED_BUGS
  plant(search.bug);
#endif
  if (search.quiet) {
    // A planted bug may trip an assertion: that counts as found, and its message is noise.
    if (std::freopen("/dev/null", "w", stderr) == nullptr) std::_Exit(2);
  }
  while (!shared.stop) {
    if (search.has_deadline && WallClock::now() > search.deadline) break;
    const uint64_t index = shared.next++;
    if (index >= search.count) break;
    const RunOptions run = search.run_at(index);
    const uint64_t seed = run.seed;
    shared.workers[worker].seed = seed;
    uint64_t operations = 0;
    bool held = false;
    if (search.repeat)
      held = repeats(run);
    else
      held = run_seed(run, search.quiet, &operations, false);
    shared.workers[worker].seed = 0;
    ++shared.workers[worker].runs;
    ++shared.done;
    shared.operations += operations;
    if (!held && (++shared.failures >= kMaxFailuresPrinted || search.stop_at_failure))
      shared.stop = true;
  }
  std::_Exit(0);
}

struct Child {
  pid_t pid = 0;
  uint64_t runs_seen = 0;
  WallClock::time_point changed;
};

Child start_worker(const Search& search, Shared& shared, unsigned worker) {
  std::fflush(stdout);
  Child child;
  child.changed = WallClock::now();
  child.runs_seen = shared.workers[worker].runs;
  child.pid = fork();
  LATTE_CHECK(child.pid >= 0);
  if (child.pid == 0) work(search, shared, worker);
  return child;
}

/// Looks after one worker; returns false once it has ended for good.
bool tend(Child& child, const Search& search, Shared& shared, unsigned worker) {
  int status = 0;
  const uint64_t seed = shared.workers[worker].seed;
  if (waitpid(child.pid, &status, WNOHANG) == child.pid) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return false;
    ++shared.failures;
    ++shared.done;
    shared.workers[worker].seed = 0;
    if (!search.quiet)
      std::printf("seed %lu: CRASH, the engine ended the process (%s %d); replay: %s\n", seed,
                  WIFSIGNALED(status) ? "signal" : "exit",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                  replay_command(search.run_of(seed)).c_str());
    if (search.stop_at_failure || shared.failures >= kMaxFailuresPrinted) shared.stop = true;
    if (shared.stop) return false;
    child = start_worker(search, shared, worker);
    return true;
  }
  const uint64_t runs = shared.workers[worker].runs;
  if (runs != child.runs_seen) {
    child.runs_seen = runs;
    child.changed = WallClock::now();
  } else if (WallClock::now() - child.changed > kStuckAfter) {
    std::printf("seed %lu: HANGS, no event for a minute; replay: %s\n", seed,
                replay_command(search.run_of(seed)).c_str());
    kill(child.pid, SIGKILL);  // our own child; reaped as a crash the next time round
    child.changed = WallClock::now();
  }
  return true;
}

/// Runs a search; returns the number of failures. `*runs` gets how many seeds were run.
uint64_t run_search(const Search& search, unsigned jobs, uint64_t* runs, uint64_t* operations) {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  LATTE_CHECK(memory != MAP_FAILED && jobs >= 1 && jobs <= Shared::kMaxJobs);
  auto& shared = *new (memory) Shared;
  std::vector<std::pair<unsigned, Child>> children;
  for (unsigned i = 0; i < jobs; ++i) children.emplace_back(i, start_worker(search, shared, i));
  while (!children.empty()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::erase_if(children,
                  [&](auto& entry) { return !tend(entry.second, search, shared, entry.first); });
  }
  const uint64_t failures = shared.failures;
  *runs = shared.done;
  *operations = shared.operations;
  munmap(memory, sizeof(Shared));
  return failures;
}

Planted bug_named(const std::string& name) {
  for (const auto& [bug, known] : kPlantedNames)
    if (known == name) return bug;
  std::fprintf(stderr, "latte-sim: no planted bug '%s'; known:", name.c_str());
  for (const auto& [bug, known] : kPlantedNames)
    std::fprintf(stderr, " %s", std::string(known).c_str());
  std::fprintf(stderr, "\n");
  std::exit(2);
}

/// Each planted bug must be found. Returns the number that were not.
int hunt_planted_bugs(const Options& options) {
  int missed = 0;
  for (const auto& [bug, name] : kPlantedNames) {
    if (bug == Planted::none) continue;
    Search search;
    search.first = options.seed;
    search.count = options.seeds != 0 ? options.seeds : kPlantedSeeds;
    search.bug = bug;
    search.quiet = true;
    uint64_t runs = 0, operations = 0;
    const uint64_t failures = run_search(search, options.jobs, &runs, &operations);
    std::printf("%-28s %s after %lu seeds\n", std::string(name).c_str(),
                failures > 0 ? "found" : "NOT FOUND", runs);
    std::fflush(stdout);
    missed += failures == 0;
  }
  return missed;
}

int run_many(const Options& options) {
  Search search;
  search.first = options.seed;
  if (options.fresh) {
    search.first = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                             std::chrono::system_clock::now().time_since_epoch())
                                             .count());
    search.first *= 100'000;
  }
  search.count = options.seeds != 0 ? options.seeds : options.time_s > 0 ? UINT64_MAX : 1;
  if (!options.seed_file.empty()) {
    search.listed = read_seed_file(options.seed_file);
    search.count = search.listed.size();
  }
  search.has_deadline = options.time_s > 0;
  search.deadline =
      WallClock::now() + std::chrono::milliseconds(static_cast<int64_t>(options.time_s * 1000));
  search.stop_at_failure = !options.keep_going;
  search.bug = bug_named(options.plant);
  search.spared = options.spared;
  search.repeat = options.repeat;
  search.fence = fence_named(options.fence);
  search.admission = use_named(options.admission);
  search.dispatch = use_named(options.dispatch);
  search.rereads = use_named(options.rereads);
  search.snapshots = use_named(options.snapshots);
  search.read_ahead = use_named(options.read_ahead);
  search.staging = use_named(options.staging);
  const auto start = WallClock::now();
  uint64_t runs = 0, operations = 0;
  const uint64_t failures = run_search(search, options.jobs, &runs, &operations);
  const double seconds = std::chrono::duration<double>(WallClock::now() - start).count();
  std::printf("%lu seeds from %lu: %lu failed; %lu client operations; %.1f s, %.0f seeds/s\n", runs,
              search.run_at(0).seed, failures, operations, seconds,
              static_cast<double>(runs) / seconds);
  return failures == 0 ? 0 : 1;
}

int main_checked(int argc, char** argv) {
  Options options;
  CLI::App app{"Crash simulation of the engine in virtual time"};
  app.add_option("--seed", options.seed, "First seed (one run in this process if it is alone)");
  app.add_option("--seeds", options.seeds, "How many seeds, from the first on");
  app.add_option("--seed-file", options.seed_file, "Run the seeds listed in this file");
  app.add_option("--jobs", options.jobs, "Worker processes")->check(CLI::Range(1, 64));
  app.add_option("--time", options.time_s, "Stop after this time, such as 180s")
      ->transform(CLI::AsNumberWithUnit(std::map<std::string, double>{{"s", 1}, {"m", 60}},
                                        CLI::AsNumberWithUnit::UNIT_OPTIONAL));
  app.add_option("--fence", options.fence, "generation, lease, or any (the seed says which)");
  app.add_option("--admission", options.admission, "none, or any (the seed says which)");
  app.add_option("--dispatch", options.dispatch, "none, or any (the seed says which)");
  app.add_option("--rereads", options.rereads, "none, or any (the seed says whether)");
  app.add_option("--snapshots", options.snapshots, "none, or any (the seed says whether)");
  app.add_option("--read-ahead", options.read_ahead, "none, or any (the seed says whether)");
  app.add_option("--staging", options.staging, "none, or any (the seed says whether)");
  app.add_option("--plant", options.plant, "Planted bug to run with");
  app.add_flag("--plants", options.all_plants, "Hunt every planted bug; all must be found");
  app.add_flag("--fresh", options.fresh, "First seed from the clock");
  app.add_flag("--trace", options.trace, "Print everything that happens in the run");
  app.add_flag("--repeat", options.repeat, "Run each seed twice; both runs must be the same");
  app.add_flag("--keep-going", options.keep_going, "Go on after a failure");
  app.add_option("--without", options.without, "Kinds of trouble to leave out")->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  options.spared = spared_from(options.without);
  spdlog::set_level(options.trace ? spdlog::level::debug : spdlog::level::off);
  spdlog::set_pattern("                   log: %v");
  if (options.all_plants) return hunt_planted_bugs(options) == 0 ? 0 : 1;
  const bool single =
      options.seeds == 0 && options.time_s == 0 && options.seed_file.empty() && !options.fresh;
  if (!single) return run_many(options);
#ifdef LATTE_PLANTED_BUGS
  plant(bug_named(options.plant));
#endif
  // Trace and engine log share stdout; line by line they keep their order.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  uint64_t operations = 0;
  const RunOptions run{options.seed,
                       fence_named(options.fence),
                       use_named(options.admission),
                       use_named(options.dispatch),
                       use_named(options.rereads),
                       use_named(options.snapshots),
                       use_named(options.read_ahead),
                       use_named(options.staging),
                       options.trace,
                       options.spared};
  return run_seed(run, false, &operations, true) ? 0 : 1;
}

}  // namespace
}  // namespace latte::simtest

int main(int argc, char** argv) { return latte::simtest::main_checked(argc, argv); }
