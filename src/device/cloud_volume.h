// CloudVolume: what a disk needs from a cloud: a base image, a log beside it, a superblock, and a
// fence. Implementations: a directory of plain files (file_cloud_volume.h), the simulated cloud
// (sim/).
//
// Invariant: once swap_super() with a higher generation has returned ok to anyone, no write
// submitted through a volume opened under a lower generation takes effect, not even one already
// under way; it ends in IoStatus::fenced or never. Thread rule: one reactor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "runtime/block_device.h"
#include "runtime/task.h"

namespace latte {

/// The superblock as opaque bytes (log/super_format.h gives them meaning), stored and swapped
/// whole.
using SuperBytes = std::array<std::byte, kBlockBytes>;

class CloudSnapshots;

class CloudVolume {
 public:
  virtual ~CloudVolume() = default;
  /// Name for logs and errors, such as "file:/srv/cloud/db".
  virtual const std::string& name() const = 0;
  /// The disk's contents up to the last checkpoint.
  virtual BlockDevice& base() = 0;
  /// Space for the cloud log.
  virtual BlockDevice& log() = 0;

  /// Reads the superblock. Errors: io (try again), damaged, not_found (no disk here).
  virtual Task<Result<SuperBytes>> read_super() = 0;
  /// Replaces the superblock, atomically and durably, if its current generation is `expected`, and
  /// fences every lower generation than `next_generation`. From then on this volume writes as
  /// `next_generation`. Errors: busy (someone else was first; read it again), io.
  virtual Task<Result<void>> swap_super(uint64_t expected_generation, uint64_t next_generation,
                                        const SuperBytes& next) = 0;
  /// Makes the base at least `size_bytes` long, durably; what it gains reads as zeroes. Nothing to
  /// do for one that is long enough. Errors: unsupported (it can't grow by itself), no_space, io.
  virtual Task<Result<void>> grow_base(uint64_t size_bytes);
  /// This volume writes no more, and says so where the next owner would otherwise take that by
  /// force. Call it when nothing is under way. Errors: io; the next owner uses force then.
  virtual Task<Result<void>> release() { co_return Result<void>(); }
  /// Snapshots of this volume; null if the service has none.
  virtual CloudSnapshots* snapshots() { return nullptr; }
};

}  // namespace latte
