// The `super` file of a FileCloudVolume: the superblock in its envelope (super_envelope.h).
//
// Thread rule: none; all calls block for file accesses.
#pragma once

#include <string>

#include "base/result.h"
#include "device/super_envelope.h"

namespace latte {

/// Reads `directory`/super. Errors: not_found (no such file), damaged (size, magic, CRC), io.
Result<StoredSuper> read_file_super(const std::string& directory);
/// Replaces it, atomically and durably: super.new, fsync, rename, fsync of the directory. Errors:
/// io, no_space.
Result<void> write_file_super(const std::string& directory, const StoredSuper& super);

}  // namespace latte
