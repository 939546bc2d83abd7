#include "frontend/guest_memory_guard.h"

#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>

#include "base/check.h"

namespace latte::vhost {
namespace {

struct Guarded {
  std::atomic<uintptr_t> begin{0};  // 0: free
  std::atomic<uintptr_t> end{0};
};

std::array<Guarded, kMaxGuardedMappings> guarded_mappings;
std::atomic<size_t> guarded_used{0};  // entries from here on were never used
std::atomic<uint64_t> fault_count{0};
std::mutex change_mutex;  // of those who guard; the handler takes no lock

bool is_guarded(uintptr_t address) {
  const size_t used = guarded_used.load(std::memory_order_acquire);
  for (size_t i = 0; i < used; ++i) {
    const uintptr_t begin = guarded_mappings[i].begin.load(std::memory_order_acquire);
    if (begin != 0 && address >= begin &&
        address < guarded_mappings[i].end.load(std::memory_order_acquire))
      return true;
  }
  return false;
}

void on_bus_error(int, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  void* page = reinterpret_cast<void*>(address & ~(kPageBytes - 1));
  if (is_guarded(address) && ::mmap(page, kPageBytes, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
    fault_count.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  // Not ours: the default action, when the instruction faults again.
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  ::sigaction(SIGBUS, &action, nullptr);
}

void install_handler() {
  struct sigaction action {};
  action.sa_sigaction = &on_bus_error;
  action.sa_flags = SA_SIGINFO;
  LATTE_CHECK(::sigaction(SIGBUS, &action, nullptr) == 0);
}

}  // namespace

bool guard_mapping(void* mapping, size_t bytes) {
  static std::once_flag installed;
  std::call_once(installed, install_handler);
  const std::lock_guard lock(change_mutex);
  for (size_t i = 0; i < guarded_mappings.size(); ++i) {
    Guarded& entry = guarded_mappings[i];
    if (entry.begin.load(std::memory_order_relaxed) != 0) continue;
    entry.end.store(reinterpret_cast<uintptr_t>(mapping) + bytes, std::memory_order_release);
    entry.begin.store(reinterpret_cast<uintptr_t>(mapping), std::memory_order_release);
    if (i >= guarded_used.load(std::memory_order_relaxed))
      guarded_used.store(i + 1, std::memory_order_release);
    return true;
  }
  return false;
}

void unguard_mapping(void* mapping) {
  const std::lock_guard lock(change_mutex);
  for (Guarded& entry : guarded_mappings)
    if (entry.begin.load(std::memory_order_relaxed) == reinterpret_cast<uintptr_t>(mapping))
      entry.begin.store(0, std::memory_order_release);
}

uint64_t guarded_faults() { return fault_count.load(std::memory_order_relaxed); }

}  // namespace latte::vhost
