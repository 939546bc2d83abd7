// Fuzzes what opens a volume area: an area with three volumes, changed by the input, with the
// checksums as they are or made to fit. What must hold: opening is refused with a message, or every
// volume that is served can be read, written, resized and removed, and no extent is given out
// twice.
//
// Input: a byte of flags (bit 0: make the checksums fit), a byte that says what is done then, and
// changes of 12 bytes: which structure (1), where in it (2), how many bytes (1), the bytes (8).
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/crc32c.h"
#include "device/memory_device.h"
#include "disk/volume_space.h"
#include "sim/sim_world.h"

namespace latte {
namespace {

constexpr uint32_t kExtent = volume::kMinExtentBytes;
constexpr volume::Geometry kGeometry{520, kExtent};  // two blocks of table
constexpr size_t kChangeBytes = 12;
/// Sizes beyond this are the format's affair; here they would only take time.
constexpr uint64_t kMaxSize = 1ull << 28;

template <typename T>
Task<void> store(Task<T> task, std::optional<T>* out) {
  out->emplace(co_await task);
}

class Rig {
 public:
  Rig() : device_(kGeometry.area_bytes()), world_(1), reactor_(world_, "host", 0) {}
  ~Rig() { reactor_.destroy_tasks(); }

  template <typename T>
  T run(Task<T> task) {
    std::optional<T> result;
    Task<void> body = store(std::move(task), &result);
    reactor_.spawn(std::move(body));
    (void)world_.run_until([&] { return result.has_value(); }, world_.now() + 3600 * kSecond);
    LATTE_CHECK(result.has_value());
    return std::move(*result);
  }

  void make() {
    VolumeSpace::FormatOptions format;
    format.extent_bytes = kExtent;
    format.zeroed = true;
    LATTE_CHECK(run(VolumeSpace::format(reactor_, device_, area(), format)).ok());
    auto space = open();
    LATTE_CHECK(space.ok());
    const VolumeOptions all[] = {
        {"a", 498 * kExtent, false}, {"b", 10 * kExtent, false}, {"c", 40 * kExtent, true}};
    for (const VolumeOptions& options : all) {
      VolumeOptions copy = options;
      LATTE_CHECK(run(space.value()->create(std::move(copy))).ok());
    }
    (void)io(*space.value()->attach("c").value(), IoOp::write, 3 * kExtent);
    LATTE_CHECK(run(space.value()->stop()).ok());
  }

  void change(const uint8_t* data, size_t size) {
    for (; size >= kChangeBytes; data += kChangeBytes, size -= kChangeBytes) {
      const uint64_t at = (data[1] + 256u * data[2]) % kBlockBytes;
      const uint64_t length = std::min<uint64_t>(data[3] % 9, kBlockBytes - at);
      std::memcpy(block(data[0]) + at, data + 4, length);
    }
  }
  /// The superblock's copies, then the table's.
  std::byte* block(uint8_t which) {
    const uint64_t blocks = kGeometry.table_blocks();
    which = static_cast<uint8_t>(which % (2 + 2 * blocks));
    if (which < 2) return device_.data() + which * kBlockBytes;
    return device_.data() + kGeometry.table_offset(0) + (which - 2) * kBlockBytes;
  }
  void reseal() {
    for (uint8_t which = 0; which < 2 + 2 * kGeometry.table_blocks(); ++which) {
      if (which < 2) {
        volume::Super super;
        std::memcpy(&super, block(which), sizeof(super));
        for (volume::Slot& slot : super.volumes) slot.size_bytes %= kMaxSize;
        volume::seal(super);
        std::memcpy(block(which), &super, sizeof(super));
      } else {
        volume::TableBlock table;
        std::memcpy(&table, block(which), sizeof(table));
        volume::seal(table);
        std::memcpy(block(which), &table, sizeof(table));
      }
    }
  }

  Result<std::unique_ptr<VolumeSpace>> open() {
    return run(VolumeSpace::open(reactor_, device_, area(), VolumeSpace::Access::read_write));
  }

  void use(VolumeSpace& space, uint8_t what) {
    for (const VolumeFacts& facts : space.list()) {
      LATTE_CHECK(volume::valid_name(facts.name));
      const auto attached = space.attach(facts.name);
      LATTE_CHECK(attached.ok() == facts.damage.empty());
      if ((what & 1) != 0 && !attached) LATTE_CHECK(run(space.remove(facts.name)).ok());
      if (!attached) continue;
      LocalVolume& volume = *attached.value();
      for (const uint64_t at : {uint64_t{0}, uint64_t{kExtent - 512}, facts.size_bytes - 512}) {
        if (!range_within(at, 512, facts.size_bytes)) continue;
        LATTE_CHECK(io(volume, IoOp::read, at) == IoStatus::ok);
        const IoStatus written = io(volume, IoOp::write, at);
        LATTE_CHECK(written == IoStatus::ok || (facts.thin && written == IoStatus::no_space));
        if ((what & 2) != 0) LATTE_CHECK(io(volume, IoOp::discard, at) == IoStatus::ok);
      }
      if ((what & 4) != 0) (void)run(space.resize(facts.name, facts.size_bytes + kExtent, false));
      if ((what & 8) != 0) (void)run(space.resize(facts.name, kBlockBytes, true));
    }
    (void)run(space.create({"new", 4 * kExtent, (what & 16) != 0}));
    (void)run(space.stop());
    uint64_t allocated = space.free_bytes();
    for (const VolumeFacts& facts : space.list()) allocated += facts.allocated_bytes;
    LATTE_CHECK(allocated <= space.size_bytes());
  }

 private:
  VolumeArea area() const { return {0, device_.info().size_bytes}; }
  static Task<IoStatus> request(BlockDevice* device, IoOp op, uint64_t offset) {
    alignas(512) std::byte data[512] = {};
    iovec vector{data, sizeof(data)};
    IoRequest request;
    request.op = op;
    request.offset = offset;
    request.length = sizeof(data);
    request.iov = &vector;
    request.iov_count = 1;
    co_return co_await device->io(request);
  }
  IoStatus io(LocalVolume& device, IoOp op, uint64_t offset) {
    return run(request(&device, op, offset));
  }

  MemoryDevice device_;
  sim::World world_;
  sim::SimReactor reactor_;
};

}  // namespace
}  // namespace latte

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  latte::Rig rig;
  rig.make();
  rig.change(data + 2, size - 2);
  if ((data[0] & 1) != 0) rig.reseal();
  for (int round = 0; round < 2; ++round) {
    auto space = rig.open();
    if (!space) {
      LATTE_CHECK(!space.error().message.empty() && round == 0);
      return 0;
    }
    rig.use(*space.value(), data[1]);
  }
  return 0;
}
