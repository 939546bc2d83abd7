// LATTE_CHECK: a programmer's error ends the process, in release builds too. Never for bad bytes
// from a disk, a peer or a user: those are Result or IoStatus.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace latte::detail {

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "latte: check failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace latte::detail

#define LATTE_CHECK(condition)                                       \
  do {                                                               \
    if (!(condition)) [[unlikely]]                                   \
      ::latte::detail::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)
