// ProgressPrinter: tells a person on stderr how something long gets on: share, rate, time left.
// Says nothing about what ends within two seconds.
//
// Thread rule: the Progress is written by any thread; the printer has its own, from construction to
// destruction.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "disk/host.h"

namespace latte {

/// "3 GiB of 8 GiB (37 %), 120.0 MiB/s, 43 s left". `rate` in bytes per second; 0 = not known yet.
std::string describe_progress(uint64_t done_bytes, uint64_t total_bytes, double rate);

class ProgressPrinter {
 public:
  /// `what` begins each line; `progress` outlives the printer.
  ProgressPrinter(std::string what, const Progress& progress);
  ~ProgressPrinter();
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;

 private:
  void run();

  const std::string what_;
  const Progress& progress_;
  const bool terminal_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace latte
