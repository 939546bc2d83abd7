// latte create: makes the pool and the disks that are missing, and leaves everything else alone.
//
// Invariant: nothing that exists is written to, but for a disk that a create left half made (no
// superblock yet).
// Thread rule: blocks; call it from the main thread.
#pragma once

#include "base/result.h"
#include "control/config.h"
#include "control/create_pool.h"

namespace latte {

/// `say` gets one line for each thing: made, there already, or left alone and why. Errors: of the
/// pool, or of all disks that could not be made; what was made stays.
Result<void> create_missing(const Config& config, const Say& say);

}  // namespace latte
