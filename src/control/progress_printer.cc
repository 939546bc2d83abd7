#include "control/progress_printer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "control/config_values.h"

namespace latte {
namespace {
constexpr auto kInterval = std::chrono::seconds(1);
// The rate is that of the last seconds, smoothed: what counts is how long the rest will take.
constexpr double kRateWeight = 0.3;
}  // namespace

std::string describe_progress(uint64_t done_bytes, uint64_t total_bytes, double rate) {
  done_bytes = std::min(done_bytes, total_bytes);
  const uint64_t percent = total_bytes == 0 ? 100 : done_bytes * 100 / total_bytes;
  std::string text =
      fmt::format("{} of {} ({} %)", format_size(done_bytes), format_size(total_bytes), percent);
  if (rate < 1) return text + ", no progress at the moment";
  const auto left_s = static_cast<uint64_t>(static_cast<double>(total_bytes - done_bytes) / rate);
  return text + fmt::format(", {}/s, {} left", format_size(static_cast<uint64_t>(rate)),
                            format_duration_s(left_s));
}

ProgressPrinter::ProgressPrinter(std::string what, const Progress& progress)
    : what_(std::move(what)),
      progress_(progress),
      terminal_(::isatty(STDERR_FILENO) == 1),
      thread_([this] { run(); }) {}

ProgressPrinter::~ProgressPrinter() {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void ProgressPrinter::run() {
  std::unique_lock lock(mutex_);
  uint64_t last_bytes = progress_.done_bytes;
  double rate = 0;
  bool printed = false;
  while (!changed_.wait_for(lock, kInterval, [&] { return ended_; })) {
    const uint64_t done = progress_.done_bytes;
    const uint64_t total = progress_.total_bytes;
    const double now = done > last_bytes ? static_cast<double>(done - last_bytes) : 0;
    rate = rate == 0 ? now : rate * (1 - kRateWeight) + now * kRateWeight;
    last_bytes = done;
    if (total == 0) continue;
    // A terminal's line is written over; a file gets one line each time.
    fmt::print(stderr, "{}{}: {}{}", terminal_ ? "\r\x1b[K" : "", what_,
               describe_progress(done, total, rate), terminal_ ? "" : "\n");
    std::fflush(stderr);
    printed = true;
  }
  if (printed && terminal_) fmt::print(stderr, "\r\x1b[K");
}

}  // namespace latte
