// DiskImage: two hybrid disks on one pool as a crash leaves them, made by the engine itself, in
// memory; and patches that damage it the way drives, clouds and people do. For disk_image_fuzz.
//
// Thread rule: none; one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "device/cloud_volume.h"
#include "device/memory_device.h"
#include "disk/host.h"

namespace latte::fuzz {

inline constexpr size_t kDisks = 2;
inline constexpr uint64_t kSegmentBytes = 64u << 10;
inline constexpr uint64_t kPoolBytes = 9 * kSegmentBytes;
inline constexpr uint64_t kLogBytes = 8 * kSegmentBytes;
inline constexpr uint64_t kDiskBytes = 96 * kBlockBytes;
inline constexpr uint64_t kDiskSectors = kDiskBytes / kSectorBytes;

/// What a patch can hit. The base is left alone: its bytes carry no checksums of Latte's.
enum class Region : uint8_t { pool, log_0, log_1, super_0, super_1 };
inline constexpr size_t kRegions = 5;

DiskOptions disk_options(size_t disk);

/// A cloud volume in memory. Its generation stands beside the superblock, as in a volume of files.
class MemoryCloud final : public CloudVolume {
 public:
  MemoryCloud(std::string name, uint64_t log_bytes)
      : name_(std::move(name)), base_(kDiskBytes), log_(log_bytes) {}
  const std::string& name() const override { return name_; }
  MemoryDevice& base() override { return base_; }
  MemoryDevice& log() override { return log_; }
  Task<Result<SuperBytes>> read_super() override;
  Task<Result<void>> swap_super(uint64_t expected_generation, uint64_t next_generation,
                                const SuperBytes& next) override;
  struct Super {
    bool there = false;
    uint64_t generation = 0;
    SuperBytes bytes{};
  };
  Super super;

 private:
  std::string name_;
  MemoryDevice base_;
  MemoryDevice log_;
};

/// All bytes of a pool and its clouds.
struct Snapshot {
  std::array<std::vector<std::byte>, kRegions> regions;
  std::array<std::vector<std::byte>, kDisks> bases;
  std::array<uint64_t, kDisks> generations{};
};

/// Ids of the writes of one disk, per sector, oldest first; 0 stands for zeroes (pattern.h).
using History = std::vector<std::vector<uint64_t>>;

/// The image, what its disks held at any time, and the same at half its life.
struct DiskImage {
  Snapshot whole;
  Snapshot half;
  std::array<History, kDisks> history;
  uint64_t next_write = 1;
  /// Blocks that hold more than data, per region.
  std::array<std::vector<uint32_t>, kRegions> metadata;
};

/// Made on first use; the same in every process.
const DiskImage& disk_image();

/// Reads the fuzzer's bytes; zeroes behind their end.
class Input {
 public:
  explicit Input(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint8_t byte();
  uint64_t number(unsigned bytes);
  std::span<const uint8_t> take(size_t count);

 private:
  std::span<const uint8_t> bytes_;
};

/// What patches did.
struct Patched {
  std::array<bool, kRegions> regions{};
  bool forged = false;    ///< checksums were made to fit: content may be anything
  bool reverted = false;  ///< blocks hold what they held long ago
};

/// Applies all patches in `input` to `snapshot`; may cut regions short.
Patched apply_patches(Input& input, const DiskImage& image, Snapshot& snapshot);

}  // namespace latte::fuzz
