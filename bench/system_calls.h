// SystemCallCounter: how many system calls a thread makes, counted by the kernel (the tracepoint
// raw_syscalls:sys_enter), so that none is overlooked.
//
// Needs the right to use tracepoints (root) and tracefs mounted at /sys/kernel/tracing.
// Thread rule: counts the thread that made it; count() there, too.
#pragma once

#include <cstdint>
#include <optional>

#include "device/unique_fd.h"

namespace latte::bench {

class SystemCallCounter {
 public:
  SystemCallCounter();
  /// Of the thread since this was made; nothing if the kernel does not let us.
  std::optional<uint64_t> count() const;

 private:
  UniqueFd fd_;
};

}  // namespace latte::bench
