// HookCommand: a program of the operator's, run without a shell: its own process group, no input,
// what it says kept for the log, and an end after a time limit.
//
// Thread rule: run() blocks; any thread but a reactor's. Limits: kMaxHookOutputBytes of what it
// says are kept.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace latte {

inline constexpr size_t kMaxHookOutputBytes = 4096;

/// Runs `arguments` (the first is the program's path) until it ends, for `limit_ns` at most, or
/// until `stop` is asked for; then it and all it started are killed. What it said, if it exited
/// with 0. Errors: not_found (no such program), io (another exit status, killed, too late), busy
/// (stopped).
Result<std::string> run_hook(const std::vector<std::string>& arguments, TimeNs limit_ns,
                             const std::stop_token& stop);

}  // namespace latte
