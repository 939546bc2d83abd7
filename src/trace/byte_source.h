// ByteSource: a trace's bytes, from a file or from memory; zstd and gzip are recognised by their
// first bytes and unpacked on the way.
//
// Thread rule: one thread at a time. Limits: zstd windows up to kMaxWindowLog, so that a hostile
// file can't ask for all memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace latte::trace {

/// 128 MiB, what `zstd --long` takes by default.
inline constexpr int kMaxWindowLog = 27;

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills the beginning of `out`; 0 bytes at the end, else at least one. Errors: io; damaged
  /// (packed data that doesn't unpack, or ends in its middle).
  virtual Result<size_t> read(std::span<char> out) = 0;
  /// Bytes taken from the file so far, packed ones if it is packed; for progress.
  virtual uint64_t consumed_bytes() const = 0;
  /// Bytes of the file; 0 if it does not say (a pipe).
  virtual uint64_t total_bytes() const = 0;
};

/// Opens the file at `path`, unpacking what it holds. Errors: not_found, io.
Result<std::unique_ptr<ByteSource>> open_byte_source(const std::string& path);
/// The same for bytes in memory, which outlive the source; `name` is used in errors.
Result<std::unique_ptr<ByteSource>> memory_byte_source(std::span<const char> bytes,
                                                       std::string name);

}  // namespace latte::trace
