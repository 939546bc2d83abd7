// VolumeMapCopy: a copy of a volume's map, kept on another reactor than the volume's.
//
// Thread rule: the volume's reactor.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/task.h"

namespace latte {

/// What is no longer as a copy has it.
struct VolumeMapChange {
  std::span<const uint32_t> parts{};  ///< these have no extent any more...
  uint32_t gone_from = UINT32_MAX;    ///< ...nor have those from here on
  uint64_t size_bytes = 0;            ///< the volume's
  bool online = true;
};

class VolumeMapCopy {
 public:
  /// Returns when the copy has followed, and no request is under way to the parts' former extents.
  virtual Task<void> follow(const VolumeMapChange& change) = 0;

 protected:
  ~VolumeMapCopy() = default;
};

}  // namespace latte
