#include "control/advisor.h"

#include <chrono>
#include <utility>

#include "base/logging.h"
#include "control/hook_command.h"

namespace latte {
namespace {

TimeNs now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Advisor::Advisor(std::vector<Disk> disks, Read read, Apply apply, TimeNs look_ns)
    : read_(std::move(read)), apply_(std::move(apply)), look_ns_(look_ns) {
  LATTE_CHECK(look_ns > 0);
  const TimeNs now = now_ns();
  for (Disk& disk : disks) {
    Watched watched{disk.config, IopsAdvisor(disk.config.limits), {},
                    now,         now + disk.config.period_ns,     {}};
    disks_.emplace(std::move(disk.name), std::move(watched));
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Advisor::~Advisor() = default;

std::optional<AdvisorFacts> Advisor::facts(const std::string& disk) const {
  const std::lock_guard lock(mutex_);
  const auto found = disks_.find(disk);
  if (found == disks_.end()) return std::nullopt;
  AdvisorFacts facts = found->second.facts;
  facts.busy_iops = found->second.advisor.busy_iops();
  return facts;
}

void Advisor::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, std::chrono::nanoseconds(look_ns_), [] { return false; });
    }
    for (auto& [name, watched] : disks_) {
      if (stop.stop_requested()) return;
      look(name, watched, stop);
    }
  }
}

void Advisor::look(const std::string& name, Watched& watched, const std::stop_token& stop) {
  const auto reading = read_(name);
  const TimeNs now = now_ns();
  {
    const std::lock_guard lock(mutex_);
    // Counters begin anew with a disk that came back.
    const bool goes_on = reading && watched.last &&
                         reading->wanted_operations >= watched.last->wanted_operations &&
                         reading->limited_ns >= watched.last->limited_ns;
    if (goes_on)
      watched.advisor.observe(reading->wanted_operations - watched.last->wanted_operations,
                              static_cast<TimeNs>(reading->limited_ns - watched.last->limited_ns),
                              now - watched.last_ns);
    watched.last = reading;
    watched.last_ns = now;
  }
  if (now >= watched.period_end_ns) end_period(name, watched, stop);
}

void Advisor::end_period(const std::string& name, Watched& watched, const std::stop_token& stop) {
  watched.period_end_ns = now_ns() + watched.config.period_ns;
  if (!watched.last) return;
  const uint64_t current = watched.last->iops;
  uint64_t advised = 0;
  {
    const std::lock_guard lock(mutex_);
    advised = watched.advisor.advise(current);
    watched.facts.advised_iops = advised;
    ++watched.facts.periods;
  }
  if (advised == current) return;
  log_info("disk {}: {} operations a second are advised for the next period, {} are there", name,
           advised, current);
  if (watched.config.hook.empty()) return;
  std::vector<std::string> arguments = watched.config.hook;
  arguments.push_back(name);
  arguments.push_back(std::to_string(advised));
  const auto ran = run_hook(arguments, watched.config.hook_limit_ns, stop);
  if (ran)
    apply_(name, advised);
  else
    log_error("disk {}: {}; it goes on with {} operations a second", name, ran.error().message,
              current);
  const std::lock_guard lock(mutex_);
  watched.facts.hook_error = ran ? "" : ran.error().message;
  if (!ran) ++watched.facts.hook_failures;
}

}  // namespace latte
