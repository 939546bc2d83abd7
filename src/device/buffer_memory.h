// BufferMemory: memory that outlives the process and not the machine's power. Where a write buffer
// keeps what it acknowledged.
//
// Thread rule: one thread at a time. Blocks; used at start and stop only.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"
#include "base/uuid.h"

namespace latte {

class BufferMemory {
 public:
  virtual ~BufferMemory() = default;
  /// The memory `id`, aligned to kBlockBytes, valid until remove() or this object's end.
  /// Errors: not_found, io.
  virtual Result<std::span<std::byte>> open(const Uuid& id) = 0;
  /// New memory, all zero. Errors: exists, no_space, io.
  virtual Result<std::span<std::byte>> create(const Uuid& id, size_t bytes) = 0;
  /// Gives the memory back; none of that id is fine.
  virtual void remove(const Uuid& id) = 0;
  /// What to call the memory `id` in a message.
  virtual std::string name(const Uuid& id) const = 0;
};

}  // namespace latte
