#include "replay/cache_replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <mutex>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/units.h"

namespace latte::replay {
namespace {

constexpr uint64_t kAccessesPerReport = 1u << 20;

/// What the threads share: the next job, and how much is done.
struct Work {
  std::atomic<size_t> next{0};
  std::atomic<uint64_t> done_accesses{0};
  uint64_t total_accesses = 0;
  std::mutex reporting;
  const OnProgress& on_progress;

  void done(uint64_t accesses) {
    const uint64_t all = done_accesses.fetch_add(accesses) + accesses;
    const std::lock_guard guard(reporting);
    on_progress(static_cast<double>(all) / static_cast<double>(total_accesses));
  }
};

void run_one(const BlockTrace& trace, uint64_t seed, CacheRun& run, Work& work) {
  policy::CacheOptions options;
  options.capacity_blocks = run.capacity_blocks;
  options.block_count = trace.block_count;
  options.seed = seed;
  options.future = trace.accesses;
  const auto start = std::chrono::steady_clock::now();
  const auto cache = policy::make_cache_policy(run.policy, options);
  LATTE_CHECK(cache != nullptr);
  uint64_t unreported = 0;
  for (const policy::CacheAccess& access : trace.accesses) {
    cache->access(access);
    if (++unreported == kAccessesPerReport) work.done(std::exchange(unreported, 0));
  }
  work.done(unreported);
  run.counts = cache->counts();
  run.memory_bytes = cache->memory_bytes();
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

uint64_t CacheSize::blocks(const BlockTrace& trace) const {
  const auto wanted = share > 0
                          ? static_cast<uint64_t>(share * static_cast<double>(trace.block_count))
                          : bytes / kBlockBytes;
  return std::max<uint64_t>(1, wanted);
}

Result<CacheSize> parse_cache_size(std::string_view text) {
  constexpr std::pair<std::string_view, uint64_t> kUnits[] = {
      {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}, {"TiB", 1ull << 40}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  const bool positive = error == std::errc() && number > 0 && std::isfinite(number);
  CacheSize size;
  if (positive && unit == "%" && number <= 1000) {
    size.share = number / 100;
    return size;
  }
  for (const auto& [name, bytes] : kUnits) {
    if (!positive || unit != name || number > 1e6) continue;
    size.bytes = static_cast<uint64_t>(number * static_cast<double>(bytes));
    if (size.bytes >= kBlockBytes) return size;
  }
  return Error{Errc::invalid,
               fmt::format("size \"{}\": give a share of the trace's footprint, such as 25%, or a "
                           "size of at least {} bytes, such as 512MiB",
                           text, kBlockBytes)};
}

std::vector<CacheRun> replay_cache(const BlockTrace& trace, const CacheReplayOptions& options,
                                   const OnProgress& on_progress) {
  std::vector<CacheRun> runs;
  for (const CacheSize& size : options.sizes)
    for (const std::string& name : options.policies) {
      CacheRun run;
      run.policy = name;
      run.capacity_blocks = size.blocks(trace);
      runs.push_back(std::move(run));
    }
  Work work{{}, {}, trace.accesses.size() * runs.size(), {}, on_progress};
  const auto take_jobs = [&] {
    for (size_t i = work.next++; i < runs.size(); i = work.next++)
      run_one(trace, options.seed, runs[i], work);
  };
  const unsigned cores = options.jobs > 0 ? options.jobs : std::thread::hardware_concurrency();
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min<size_t>(std::max(1u, cores), runs.size()); ++i)
    threads.emplace_back(take_jobs);
  take_jobs();
  for (std::thread& thread : threads) thread.join();
  return runs;
}

}  // namespace latte::replay
