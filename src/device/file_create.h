// Making the files that devices live in.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"

namespace latte {

/// Called about every 4 MiB with bytes done and bytes in all.
using CreateProgress = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

enum class Preallocate {
  no,   ///< sparse
  yes,  ///< real zeroes written: overwriting extents that exist but were never written would cost a
        ///< journal commit per write
};

/// Makes the file `path` of `size_bytes` (multiple of kSectorBytes), which must not exist, and
/// makes it durable. Blocks. On failure nothing is left behind. Errors: exists, no_space, not_found
/// (directory), io.
Result<void> create_file_exclusive(const std::string& path, uint64_t size_bytes,
                                   Preallocate preallocate, const CreateProgress& progress = {});

/// Makes a directory's entries durable. Errors: io.
Result<void> sync_directory(const std::string& path);
/// The directory of `path`; "." if it names none.
std::string directory_of(const std::string& path);

}  // namespace latte
