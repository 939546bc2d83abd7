// VolumeSpace: a volume area - its superblock, its table, and the local volumes in it.
//
// The area lies on the pool's device, behind the log, from VolumeArea::offset on.
//
// Invariants:
//  1. The two copies of the superblock are written one after the other, each durable before the
//     next, first the one that is not the newest.
//  2. A change of the volumes is one write of the superblock. What a crash leaves in the table
//     without one (extents of a volume never made or removed, or behind a volume's end) belongs to
//     nobody and is free at the next open().
//  3. A volume of which not everything is known is not served; the others are.
// Thread rule: one reactor. Changes run one after the other.
// Limits: volume::kMaxVolumes volumes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/uuid.h"
#include "disk/host.h"
#include "disk/local_volume.h"
#include "disk/volume_format.h"
#include "disk/volume_table.h"
#include "runtime/block_device.h"
#include "runtime/sync.h"

namespace latte {

/// Part of a device, in bytes; both multiples of kBlockBytes.
struct VolumeArea {
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
};

struct VolumeOptions {
  std::string name;         ///< as volume::valid_name()
  uint64_t size_bytes = 0;  ///< multiple of kBlockBytes
  bool thin = false;
};

/// What `latte volume ls` shows.
struct VolumeFacts {
  std::string name;
  Uuid id;
  uint64_t size_bytes = 0;
  uint64_t allocated_bytes = 0;
  bool thin = false;
  bool served = false;
  std::string damage;  ///< why it can't be served; empty: it can
};

class VolumeSpace {
 public:
  struct FormatOptions {
    uint32_t extent_bytes = volume::kDefaultExtentBytes;
    bool zeroed = false;  ///< the whole area reads as zeroes, durably
  };
  enum class Access : uint8_t { read_write, read_only };

  /// Writes an empty area; whatever was there is gone. Errors: invalid (too small), io.
  static Task<Result<void>> format(Reactor& reactor, BlockDevice& device, VolumeArea area,
                                   FormatOptions options);
  /// Reads an area; with read_write, makes durable what it read and frees what belongs to nobody.
  /// `device` outlives the space. Errors: not_found (no area here), unsupported, damaged (both
  /// superblocks), io. Damage below that is in findings().
  static Task<Result<std::unique_ptr<VolumeSpace>>> open(Reactor& reactor, BlockDevice& device,
                                                         VolumeArea area, Access access);

  /// What open() found that is not as it should be.
  const std::vector<Finding>& findings() const { return findings_; }

  /// Makes a volume that reads as zeroes. Errors: invalid, exists, no_space, io.
  Task<Result<void>> create(VolumeOptions options);
  /// Removes a volume and frees its space. Errors: not_found, busy (served), io.
  Task<Result<void>> remove(std::string name);
  /// Changes a volume's size, served or not; what is added reads as zeroes. `force`: it may become
  /// smaller, and what is cut off is lost. Errors: not_found, invalid, damaged, no_space, io.
  Task<Result<void>> resize(std::string name, uint64_t size_bytes, bool force);

  /// A volume to serve; it accepts requests from now on. Errors: not_found, damaged.
  Result<LocalVolume*> attach(const std::string& name);
  /// Whether there is a volume of this name.
  bool has(std::string_view name) const { return find_slot(name) != nullptr; }
  std::vector<VolumeFacts> list() const;
  /// Statistics of the volumes that are or were served.
  std::vector<DiskStats> stats() const;
  /// Stops all volumes and waits for changes under way. Errors: io.
  Task<Result<void>> stop();

  uint64_t size_bytes() const { return geometry_.extent_count * geometry_.extent_bytes; }
  uint64_t free_bytes() const { return table_.free_extents() * geometry_.extent_bytes; }
  uint32_t extent_bytes() const { return geometry_.extent_bytes; }

 private:
  struct Volume {
    std::unique_ptr<LocalVolume> device;
    std::string damage;
    bool attached = false;
  };

  VolumeSpace(Reactor& reactor, BlockDevice& device, VolumeArea area, const volume::Super& super,
              unsigned newest);
  void adopt_extents();
  void judge(size_t index, bool twice);
  Task<IoStatus> write_super(volume::Super next);
  Task<Result<void>> create_locked(VolumeOptions& options);
  Task<Result<void>> grow(size_t index, uint64_t size_bytes);
  Task<Result<void>> shrink(size_t index, uint64_t size_bytes);
  Result<void> check_new(const VolumeOptions& options) const;
  Result<size_t> usable(const std::string& name) const;
  const volume::Slot* find_slot(std::string_view name) const;
  size_t index_of(const volume::Slot& slot) const;
  Error on_volume(std::string_view name, Errc code, std::string what) const;
  Error write_failed(std::string_view name, IoStatus status) const;

  Reactor& reactor_;
  BlockDevice& device_;
  const VolumeArea area_;
  volume::Super super_;
  unsigned newest_;  // which copy holds super_
  const volume::Geometry geometry_;
  VolumeTable table_;
  std::array<Volume, volume::kMaxVolumes> volumes_;
  std::vector<Finding> findings_;
  Semaphore changing_;
};

}  // namespace latte
