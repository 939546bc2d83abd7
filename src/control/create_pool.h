// The pool's part of `latte create`: a pool on a file that is not there yet, or on an empty block
// device.
//
// Invariants:
//  1. Nothing that exists is written to, but for a block device that looks empty.
//  2. A pool file has its name only once it is whole: it is written as PATH.latte-new and renamed.
//     What an interrupted run left under that name is replaced; nobody else is at work on it, since
//     the directory is locked meanwhile.
// Thread rule: blocks; call it from the main thread.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "control/config.h"

namespace latte {

/// Gets one line for each thing that was done or left alone.
using Say = std::function<void(const std::string& line)>;

/// Makes the pool. Errors: exists (the file, or something else on the block device), busy (another
/// latte create is at work), not_found (the directory), no_space, invalid, io.
Result<void> make_pool(const PoolConfig& pool, const Say& say);

}  // namespace latte
