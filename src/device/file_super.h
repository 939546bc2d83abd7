// The `super` file of a FileCloudVolume: an envelope around the opaque superblock, so that this
// floor can compare generations without knowing the format inside.
//
//   0     magic "LTFSUPER"
//   8     generation, little-endian
//   16    4096 bytes, opaque
//   4112  CRC-32C of all before, little-endian
//
// Thread rule: none; all calls block for file accesses.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "device/cloud_volume.h"

namespace latte {

inline constexpr size_t kFileSuperBytes = 16 + kBlockBytes + 4;

struct FileSuper {
  uint64_t generation = 0;
  SuperBytes bytes{};
};

/// Reads `directory`/super. Errors: not_found (no such file), damaged (size, magic, CRC), io.
Result<FileSuper> read_file_super(const std::string& directory);
/// Replaces it, atomically and durably: super.new, fsync, rename, fsync of the directory. Errors:
/// io, no_space.
Result<void> write_file_super(const std::string& directory, const FileSuper& super);

}  // namespace latte
