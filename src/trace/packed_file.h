// PackedFile: a file that is written from its start to its end, packed as its name says.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace latte::trace {

class PackedFile {
 public:
  virtual ~PackedFile() = default;

  /// Makes the file `path`, which must not exist: packed with zstd if it ends in ".zst", with gzip
  /// if it ends in ".gz", else as it is. Errors: exists, not_found (directory), io.
  static Result<std::unique_ptr<PackedFile>> create(const std::string& path);
  /// Errors: io (no room, for example); the file then has a part of what was written.
  virtual Result<void> write(std::string_view bytes) = 0;
  /// Ends the file; without it the end of what was written may be missing. Errors: io.
  virtual Result<void> close() = 0;
};

}  // namespace latte::trace
