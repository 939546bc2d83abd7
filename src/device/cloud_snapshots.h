// CloudSnapshots: the state of a cloud volume - base, log and superblock - kept under a name, on
// services that can.
//
// Steps, so that little happens while the writer is held: prepare(), take() while nothing is
// written to base and log, finish(). Until finish() a snapshot does not exist for list(); what a
// broken attempt left goes with the next prepare() or remove() of its name. Thread rule: one
// reactor. One call at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/cloud_volume.h"
#include "runtime/task.h"

namespace latte {

/// A snapshot that is complete.
struct CloudSnapshot {
  std::string name;
  int64_t taken_ns = 0;  ///< wall clock, since 1970
  SuperBytes super;      ///< as it was when the snapshot was ordered
};

/// That the volume `where` has no snapshot of that name, and what shows those that it has.
Error no_such_snapshot(const std::string& where, const std::string& name);

class CloudSnapshots {
 public:
  virtual ~CloudSnapshots() = default;

  /// Says that a snapshot of this name is about to be made. Errors: exists, invalid (the service
  /// can't have such a name), busy (fenced), io.
  virtual Task<Result<void>> prepare(std::string name, const SuperBytes& super) = 0;
  /// Keeps base and log as they are. Errors: busy (fenced), no_space, io; whether it was taken is
  /// then not known.
  virtual Task<Result<void>> take(std::string name) = 0;
  /// The snapshot is whole. Errors: busy (fenced), io.
  virtual Task<Result<void>> finish(std::string name) = 0;
  /// The complete ones, oldest first. Errors: io, damaged.
  virtual Task<Result<std::vector<CloudSnapshot>>> list() = 0;
  /// Errors: not_found, busy (something depends on it; fenced), io.
  virtual Task<Result<void>> remove(std::string name) = 0;

  /// How far a rollback is, of how much; from any thread.
  using RollBackProgress = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;
  /// Makes base and log what they were, lengths included; the superblock stays as it is. Takes as
  /// long as copying them does. Nothing may be under way to them. If it ends half way they are
  /// neither this nor that, and it may be begun again. Errors: not_found, busy (fenced), io.
  virtual Task<Result<void>> roll_back(std::string name, RollBackProgress progress) = 0;
};

}  // namespace latte
