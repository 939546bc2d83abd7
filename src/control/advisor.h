// Advisor: watches what disks ask of their cloud volumes, second by second; says at the end of each
// period how many operations a second the next one needs, and has a hook of the operator's buy them
// (run_hook(): a program, no shell). The disk's own limit follows once the hook has succeeded.
//
// A thread of its own: neither watching nor a hook that hangs holds the engine up.
// Thread rule: facts() on any thread; made and destroyed by one. The callbacks are called on the
// advisor's thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "control/advisor_config.h"

namespace latte {

/// What the advisor has to say about a disk.
struct AdvisorFacts {
  uint64_t busy_iops = 0;     ///< asked for in this period, in all but one of a hundred seconds
  uint64_t advised_iops = 0;  ///< at the last period's end; 0: none has ended
  uint64_t periods = 0;       ///< that have ended
  uint64_t hook_failures = 0;
  std::string hook_error;  ///< of the last run; empty if it succeeded
};

class Advisor {
 public:
  /// What a disk's meter counts, all of it since some start.
  struct Reading {
    uint64_t wanted_operations = 0;
    uint64_t limited_ns = 0;
    uint64_t iops = 0;  ///< the limit now
  };
  struct Disk {
    std::string name;
    AdvisorConfig config;
  };
  using Read = std::function<std::optional<Reading>(const std::string& disk)>;
  using Apply = std::function<void(const std::string& disk, uint64_t iops)>;

  /// `read` gives nothing for a disk that is not served now; `apply` sets its limit. Looks every
  /// `look_ns`.
  Advisor(std::vector<Disk> disks, Read read, Apply apply, TimeNs look_ns = kSecond);
  /// Ends the thread, and a hook that runs.
  ~Advisor();
  Advisor(const Advisor&) = delete;
  Advisor& operator=(const Advisor&) = delete;

  /// Nothing for a disk without an advisor.
  std::optional<AdvisorFacts> facts(const std::string& disk) const;

 private:
  struct Watched {
    AdvisorConfig config;
    IopsAdvisor advisor;
    std::optional<Reading> last;
    TimeNs last_ns = 0;
    TimeNs period_end_ns = 0;
    AdvisorFacts facts;
  };
  void run(const std::stop_token& stop);
  void look(const std::string& name, Watched& watched, const std::stop_token& stop);
  void end_period(const std::string& name, Watched& watched, const std::stop_token& stop);

  const Read read_;
  const Apply apply_;
  const TimeNs look_ns_;
  mutable std::mutex mutex_;  // of what facts() gives
  std::condition_variable_any wake_;
  std::map<std::string, Watched> disks_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace latte
