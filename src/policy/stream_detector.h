// StreamDetector: which reads belong to a sequential stream that is long enough to pass the cache
// by: it would push out what is read again, and the cloud's bandwidth serves it well.
//
// The kStreams streams read latest are known by the block that follows them. A read that begins
// within kSlackBlocks of it, before or behind (several requests under way arrive in any order),
// belongs to that stream. Only blocks beyond all that was read count, so reads at random within a
// small range make no stream.
// Thread rule: an object belongs to one thread. Cost: kStreams comparisons a read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/units.h"

namespace latte::policy {

class StreamDetector {
 public:
  static constexpr size_t kStreams = 16;
  static constexpr uint64_t kSlackBlocks = 128;
  /// A stream is one from so many blocks on (1 MiB), unless told otherwise.
  static constexpr uint64_t kLeastBlocks = 256;

  struct Sighting {
    bool stream = false;  ///< the read belongs to one
    size_t number = 0;    ///< of it, below kStreams; another stream can get the number later
    Lba next{};           ///< the block behind all that it has read
  };

  /// `least_blocks`: how long a stream is before it counts as one.
  explicit StreamDetector(uint64_t least_blocks = kLeastBlocks) : least_blocks_(least_blocks) {}

  /// A client reads `count` blocks (at least 1) at `lba`.
  Sighting observe(Lba lba, uint64_t count);

 private:
  struct Stream {
    uint64_t next = 0;    // the block behind it
    uint64_t blocks = 0;  // read so far; 0: unused
    uint64_t used = 0;    // when, in reads
  };
  Sighting sighting(const Stream& stream) const;

  uint64_t least_blocks_;
  std::array<Stream, kStreams> streams_{};
  uint64_t reads_ = 0;
};

}  // namespace latte::policy
