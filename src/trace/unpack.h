// Unpackers: ByteSources that unpack another one.
#pragma once

#include <memory>
#include <string>

#include "trace/byte_source.h"

namespace latte::trace {

/// First bytes of the packed forms, as they lie in a file.
inline constexpr unsigned char kZstdMagic[] = {0x28, 0xb5, 0x2f, 0xfd};
inline constexpr unsigned char kGzipMagic[] = {0x1f, 0x8b};

/// Unpacks zstd frames, one behind another. `name` is used in errors.
std::unique_ptr<ByteSource> unpack_zstd(std::unique_ptr<ByteSource> packed, std::string name);
/// Unpacks gzip members, one behind another.
std::unique_ptr<ByteSource> unpack_gzip(std::unique_ptr<ByteSource> packed, std::string name);

}  // namespace latte::trace
