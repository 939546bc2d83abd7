// latte create: makes the pool and the disks that are missing, and leaves everything else alone.
//
// Invariants:
//  1. Nothing that exists is written to, but for a disk that a create left half made (no superblock
//  yet).
//  2. A pool file has its name only once it is whole: it is written as PATH.new and renamed.
// Thread rule: blocks; call it from the main thread.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "control/config.h"

namespace latte {

/// `say` gets one line for each thing: made, there already, or left alone and why. Errors: of the
/// first thing that could not be made; what was made before stays.
Result<void> create_missing(const Config& config,
                            const std::function<void(const std::string& line)>& say);

}  // namespace latte
