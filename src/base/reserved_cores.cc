#include "base/reserved_cores.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <mutex>

#include "base/check.h"

namespace latte {
namespace {

static_assert(kMaxCores <= CPU_SETSIZE);

struct Reserved {
  std::mutex mutex;
  cpu_set_t cores{};
};

Reserved& reserved() {
  static Reserved instance;
  return instance;
}

}  // namespace

void reserve_cores(std::span<const unsigned> cores) {
  const std::lock_guard lock(reserved().mutex);
  for (const unsigned core : cores) {
    LATTE_CHECK(core < kMaxCores);
    CPU_SET(core, &reserved().cores);
  }
}

void keep_off_reserved_cores() {
  cpu_set_t all;
  // The first thread's id is the process's.
  if (::sched_getaffinity(::getpid(), sizeof(all), &all) != 0) return;
  cpu_set_t free = all;
  {
    const std::lock_guard lock(reserved().mutex);
    for (unsigned core = 0; core < kMaxCores; ++core)
      if (CPU_ISSET(core, &reserved().cores)) CPU_CLR(core, &free);
  }
  const cpu_set_t& cores = CPU_COUNT(&free) > 0 ? free : all;
  (void)::pthread_setaffinity_np(::pthread_self(), sizeof(cores), &cores);
}

}  // namespace latte
