#include "disk_image.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "../sim/pattern.h"
#include "base/buffer.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "disk/hybrid_disk.h"
#include "log/log_format.h"
#include "sim/sim_world.h"

namespace latte::fuzz {
namespace {

constexpr uint64_t kSegmentBlocks = kSegmentBytes / kBlockBytes;
constexpr uint64_t kFirstSegmentBlock = 16;  // behind the superblocks: 64 KiB
constexpr TimeNs kBuildLimitNs = 3600 * kSecond;

/// The life of the image: what is written when.
class Builder {
 public:
  explicit Builder(DiskImage& image) : image_(image), pool_(kPoolBytes) {
    for (size_t d = 0; d < kDisks; ++d) {
      clouds_[d] = std::make_unique<MemoryCloud>("cloud" + std::to_string(d), kLogBytes);
      image_.history[d].resize(kDiskSectors, std::vector<uint64_t>{0});
    }
  }

  void build() {
    sim::SimReactor reactor(world_, "builder", 0);
    reactor_ = &reactor;
    bool done = false;
    Task<void> task = live(&done);
    reactor.spawn(std::move(task));
    LATTE_CHECK(world_.run_until([&] { return done; }, kBuildLimitNs) ==
                sim::World::Stop::condition);
    // SIGKILL, here and now: the latest writes are in the pool only.
    reactor.destroy_tasks();
    host_.reset();
    image_.whole = take_snapshot();
    image_.next_write = next_write_;
  }

 private:
  Task<void> open(bool fresh) {
    host_ = std::make_unique<Host>(*reactor_, pool_);
    PoolOptions pool;
    pool.segment_bytes = kSegmentBytes;
    CloudOptions log;
    log.segment_bytes = kSegmentBytes;
    if (fresh) {
      const auto made = co_await Host::format_pool(*reactor_, pool_, pool);
      LATTE_CHECK(made.ok());
    }
    const auto opened = co_await host_->open_pool();
    LATTE_CHECK(opened.ok());
    for (size_t d = 0; d < kDisks; ++d) {
      const DiskOptions options = disk_options(d);
      if (fresh) {
        const auto made = co_await Host::format_cloud(*reactor_, *clouds_[d], options, log);
        LATTE_CHECK(made.ok());
        const auto adopted = co_await host_->adopt_new(options, *clouds_[d]);
        LATTE_CHECK(adopted.ok());
      }
      const auto disk = co_await host_->attach(options, *clouds_[d]);
      LATTE_CHECK(disk.ok());
      disks_[d] = disk.value();
    }
  }

  Task<void> write_some(unsigned count, TimeNs pause_ns) {
    Random& random = reactor_->random();
    for (unsigned i = 0; i < count; ++i) {
      const size_t d = random.below(kDisks);
      const bool sectors = random.chance(1, 4);
      const uint64_t unit = sectors ? 1 : kBlockBytes / kSectorBytes;
      const uint64_t length = unit * random.between(1, 6);
      const uint64_t at = unit * random.below((kDiskSectors - length) / unit);
      const bool zero = random.chance(1, 10);
      const uint64_t id = zero ? 0 : next_write_++;
      IoStatus status;
      if (zero) {
        status = co_await disks_[d]->discard(at * kSectorBytes, length * kSectorBytes);
      } else {
        Buffer data(length * kSectorBytes);
        simtest::fill_pattern(data.span(), static_cast<uint32_t>(d), id, at);
        status = co_await disks_[d]->write(at * kSectorBytes, data.span());
      }
      LATTE_CHECK(status == IoStatus::ok);
      for (uint64_t s = at; s < at + length; ++s) image_.history[d][s].push_back(id);
      if (random.chance(1, 8)) {
        status = co_await disks_[d]->flush();
        LATTE_CHECK(status == IoStatus::ok);
      }
      if (pause_ns > 0)
        co_await reactor_->sleep(
            static_cast<TimeNs>(random.below(static_cast<uint64_t>(pause_ns))));
    }
    for (HybridDisk* disk : disks_) {
      const IoStatus status = co_await disk->flush();
      LATTE_CHECK(status == IoStatus::ok);
    }
  }

  Task<void> live(bool* done) {
    co_await open(true);
    co_await write_some(150, 40 * kMillisecond);
    const auto stopped = co_await host_->stop();
    LATTE_CHECK(stopped.ok());
    co_await open(false);
    co_await write_some(100, 40 * kMillisecond);
    image_.half = take_snapshot();
    co_await write_some(100, 40 * kMillisecond);
    co_await write_some(15, 0);
    *done = true;
  }

  Snapshot take_snapshot() {
    const auto bytes_of = [](MemoryDevice& device) {
      return std::vector<std::byte>(device.data(), device.data() + device.info().size_bytes);
    };
    Snapshot snapshot;
    snapshot.regions[static_cast<size_t>(Region::pool)] = bytes_of(pool_);
    for (size_t d = 0; d < kDisks; ++d) {
      MemoryCloud& cloud = *clouds_[d];
      snapshot.regions[static_cast<size_t>(Region::log_0) + d] = bytes_of(cloud.log());
      snapshot.regions[static_cast<size_t>(Region::super_0) + d].assign(cloud.super.bytes.begin(),
                                                                        cloud.super.bytes.end());
      snapshot.bases[d] = bytes_of(cloud.base());
      snapshot.generations[d] = cloud.super.generation;
    }
    return snapshot;
  }

  DiskImage& image_;
  sim::World world_{7};
  sim::SimReactor* reactor_ = nullptr;
  MemoryDevice pool_;
  std::array<std::unique_ptr<MemoryCloud>, kDisks> clouds_;
  std::unique_ptr<Host> host_;
  std::array<HybridDisk*, kDisks> disks_{};
  uint64_t next_write_ = 1;
};

std::span<std::byte> block_at(std::vector<std::byte>& region, uint64_t block) {
  return std::span(region).subspan(block * kBlockBytes, kBlockBytes);
}

template <typename Structure>
Structure load(std::span<const std::byte> block) {
  Structure out;
  std::memcpy(&out, block.data(), sizeof(out));
  return out;
}

template <typename Structure>
void seal_in_place(std::span<std::byte> block) {
  auto structure = load<Structure>(block);
  log::seal(structure);
  std::memcpy(block.data(), &structure, sizeof(structure));
}

/// Where the table of the segment that `block` lies in begins; its footer's block if it has none.
uint64_t table_start(std::vector<std::byte>& region, uint64_t block, uint64_t* footer_block) {
  if (block < kFirstSegmentBlock) return *footer_block = UINT64_MAX;
  *footer_block = block - (block - kFirstSegmentBlock) % kSegmentBlocks + kSegmentBlocks - 1;
  if ((*footer_block + 1) * kBlockBytes > region.size()) return *footer_block = UINT64_MAX;
  const auto footer = load<log::SegmentFooter>(block_at(region, *footer_block));
  if (footer.magic != log::kFooterMagic || footer.table_blocks >= kSegmentBlocks)
    return *footer_block = UINT64_MAX;
  return *footer_block - footer.table_blocks;
}

/// What a block holds, as its magic or its place says.
enum class Holds : uint8_t { data, space_super, cloud_super, segment, record, table, footer };

Holds look_at(std::vector<std::byte>& region, uint64_t block) {
  const auto bytes = block_at(region, block);
  uint64_t footer_block = 0;
  const uint64_t start = table_start(region, block, &footer_block);
  if (block == footer_block) return Holds::footer;
  if (footer_block != UINT64_MAX && block >= start) return Holds::table;
  switch (load<uint64_t>(bytes)) {
    case log::kSpaceMagic:
      return Holds::space_super;
    case log::kCloudMagic:
      return Holds::cloud_super;
    case log::kSegmentMagic:
      return Holds::segment;
    default:
      return load<uint32_t>(bytes) == log::kRecordMagic ? Holds::record : Holds::data;
  }
}

/// Makes the checksums fit what the block holds now.
void forge(std::vector<std::byte>& region, uint64_t block, Holds holds) {
  const auto bytes = block_at(region, block);
  switch (holds) {
    case Holds::data:
      return;
    case Holds::space_super:
      return seal_in_place<log::SpaceSuper>(bytes);
    case Holds::cloud_super:
      return seal_in_place<log::CloudSuper>(bytes);
    case Holds::segment:
      return seal_in_place<log::SegmentHeader>(bytes);
    case Holds::footer:
      return seal_in_place<log::SegmentFooter>(bytes);
    case Holds::record: {
      const uint64_t blocks = load<log::RecordHeader>(bytes).header_blocks;
      if (blocks == 0 || blocks > log::kMaxHeaderBlocks) return;
      if ((block + blocks) * kBlockBytes > region.size()) return;
      return log::seal_record(std::span(region).subspan(block * kBlockBytes, blocks * kBlockBytes));
    }
    case Holds::table: {
      uint64_t at = 0;
      const uint64_t start = table_start(region, block, &at);
      if (at == UINT64_MAX) return;
      auto footer = load<log::SegmentFooter>(block_at(region, at));
      footer.table_crc =
          crc32c(std::span(region).subspan(start * kBlockBytes, (at - start) * kBlockBytes));
      log::seal(footer);
      std::memcpy(block_at(region, at).data(), &footer, sizeof(footer));
      return;
    }
  }
}

uint64_t edge_value(Input& input) {
  constexpr uint64_t kEdges[] = {
      0,          1,          2,          (1ull << 60) - 1, 1ull << 60, UINT64_MAX, UINT64_MAX - 1,
      1ull << 32, 1ull << 63, 1ull << 48, kSegmentBlocks,   UINT32_MAX};
  const uint8_t choice = input.byte();
  return choice < std::size(kEdges) ? kEdges[choice] : input.number(choice % 8 + 1);
}

enum class Operation : uint8_t { flip, overwrite, zero, copy, revert, number, add, cut, count };

}  // namespace

DiskOptions disk_options(size_t disk) {
  DiskOptions options;
  options.name = disk == 0 ? "db" : "logs";
  options.size_bytes = kDiskBytes;
  return options;
}

Task<Result<SuperBytes>> MemoryCloud::read_super() {
  if (!super.there) co_return Error{Errc::not_found, name_ + ": no disk here"};
  co_return super.bytes;
}

Task<Result<void>> MemoryCloud::swap_super(uint64_t expected_generation, uint64_t next_generation,
                                           const SuperBytes& next) {
  LATTE_CHECK(next_generation >= expected_generation);
  if (expected_generation != super.generation)
    co_return Error{Errc::busy, name_ + ": another generation"};
  super = Super{true, next_generation, next};
  co_return Result<void>();
}

const DiskImage& disk_image() {
  static const DiskImage image = [] {
    DiskImage made;
    Builder(made).build();
    for (size_t r = 0; r < kRegions; ++r) {
      auto& region = made.whole.regions[r];
      for (uint32_t block = 0; block * kBlockBytes < region.size(); ++block)
        if (look_at(region, block) != Holds::data) made.metadata[r].push_back(block);
    }
    return made;
  }();
  return image;
}

uint8_t Input::byte() {
  if (bytes_.empty()) return 0;
  const uint8_t value = bytes_.front();
  bytes_ = bytes_.subspan(1);
  return value;
}

uint64_t Input::number(unsigned bytes) {
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; ++i) value |= static_cast<uint64_t>(byte()) << (8 * i);
  return value;
}

std::span<const uint8_t> Input::take(size_t count) {
  const auto front = bytes_.first(std::min(count, bytes_.size()));
  bytes_ = bytes_.subspan(front.size());
  return front;
}

// A patch: operation (bit 7: make the checksums fit, bit 6: pick among the blocks of metadata),
// region, block, offset within the block, and what the operation needs.
Patched apply_patches(Input& input, const DiskImage& image, Snapshot& snapshot) {
  Patched patched;
  while (!input.empty()) {
    const uint8_t head = input.byte();
    const auto operation =
        static_cast<Operation>((head & 0x3f) % static_cast<uint8_t>(Operation::count));
    const size_t r = input.byte() % kRegions;
    auto& region = snapshot.regions[r];
    const uint64_t blocks = region.size() / kBlockBytes;
    if (blocks == 0) continue;
    uint64_t block = input.number(2);
    const auto& metadata = image.metadata[r];
    if ((head & 0x40) != 0) block = metadata[block % metadata.size()];
    block %= blocks;
    const auto bytes = block_at(region, block);
    const Holds holds = look_at(region, block);
    const size_t offset = input.number(2) % kBlockBytes;
    patched.regions[r] = true;
    switch (operation) {
      case Operation::flip:
      case Operation::overwrite: {
        const auto values = input.take(std::min<size_t>(input.byte() % 64, kBlockBytes - offset));
        for (size_t i = 0; i < values.size(); ++i) {
          const auto value = static_cast<std::byte>(values[i]);
          bytes[offset + i] = operation == Operation::flip ? bytes[offset + i] ^ value : value;
        }
        break;
      }
      case Operation::zero:
        std::fill(bytes.begin(), bytes.end(), std::byte{0});
        break;
      case Operation::copy: {
        auto& source = snapshot.regions[input.byte() % kRegions];
        if (source.size() < kBlockBytes) break;
        const auto from = block_at(source, input.number(2) % (source.size() / kBlockBytes));
        std::memmove(bytes.data(), from.data(), kBlockBytes);
        break;
      }
      case Operation::revert:
        std::memcpy(bytes.data(), image.half.regions[r].data() + block * kBlockBytes, kBlockBytes);
        patched.reverted = true;
        break;
      case Operation::number:
      case Operation::add: {
        const size_t at = offset / 8 * 8;
        auto value = load<uint64_t>(bytes.subspan(at));
        if (operation == Operation::add)
          value += static_cast<uint64_t>(static_cast<int64_t>(static_cast<int8_t>(input.byte())));
        else
          value = edge_value(input);
        std::memcpy(bytes.data() + at, &value, sizeof(value));
        break;
      }
      case Operation::cut:
        if (r < static_cast<size_t>(Region::super_0))
          region.resize(std::max<uint64_t>(block, 1) * kBlockBytes);
        break;
      case Operation::count:
        break;
    }
    if ((head & 0x80) == 0 || block * kBlockBytes >= region.size()) continue;
    forge(region, block, holds);
    patched.forged = true;
    if (r < static_cast<size_t>(Region::super_0)) continue;
    // A volume of files keeps both in one envelope: forged together.
    snapshot.generations[r - static_cast<size_t>(Region::super_0)] =
        load<log::CloudSuper>(block_at(region, 0)).generation;
  }
  return patched;
}

}  // namespace latte::fuzz
