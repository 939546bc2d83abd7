#include "system_calls.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>

namespace latte::bench {

SystemCallCounter::SystemCallCounter() {
  std::ifstream file("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id");
  uint64_t id = 0;
  if (!(file >> id)) return;
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.config = id;
  fd_ = UniqueFd(static_cast<int>(
      ::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)));
}

std::optional<uint64_t> SystemCallCounter::count() const {
  uint64_t value = 0;
  if (!fd_.valid() || ::read(fd_.get(), &value, sizeof(value)) != sizeof(value))
    return std::nullopt;
  return value;
}

}  // namespace latte::bench
