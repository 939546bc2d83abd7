// Fuzzes the ring walkers and the virtio-blk request reader on arbitrary guest memory and an
// arbitrary inflight region: the input is what both hold, and how the driver changes memory between
// turns. What must hold: nothing outside the guest's memory is touched (it ends at the sanitizer's
// red zone), a request that may run lies inside the device, every walk ends.
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "base/check.h"
#include "frontend/guest_memory.h"
#include "frontend/virtio_blk.h"
#include "frontend/virtqueue.h"

namespace latte::vhost {
namespace {

constexpr size_t kRegionBytes = 8192;
constexpr uint64_t kGuest = 0x1000;
constexpr uint64_t kUser = 0x7000'0000;
constexpr uint64_t kDeviceBytes = 1u << 20;
constexpr uint32_t kMaxTurns = 64;

/// Takes bytes off the input; zeroes when there are no more.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  template <typename T>
  T take() {
    T value{};
    fill(&value, sizeof(value));
    return value;
  }
  void fill(void* out, size_t bytes) {
    const size_t given = std::min(bytes, size_);
    if (given > 0) std::memcpy(out, data_, given);
    data_ += given;
    size_ -= given;
  }
  bool empty() const { return size_ == 0; }

 private:
  const uint8_t* data_;
  size_t size_;
};

bool inside(const iovec& piece, const std::byte* memory, size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(piece.iov_base);
  return piece.iov_len == 0 ||
         (begin >= memory && begin + piece.iov_len <= memory + bytes && piece.iov_len <= bytes);
}

struct Guest {
  // Two regions that touch, in memory apart: buffers may cross from one to the other.
  std::unique_ptr<std::byte[]> low{new std::byte[kRegionBytes]()};
  std::unique_ptr<std::byte[]> high{new std::byte[kRegionBytes]()};
  GuestMemoryRef memory;

  Guest() {
    GuestMemory::Regions regions;
    regions.push_back(GuestRegion::borrow({kGuest, kRegionBytes, kUser, 0}, low.get()));
    regions.push_back(GuestRegion::borrow(
        {kGuest + kRegionBytes, kRegionBytes, kUser + (1u << 20), 0}, high.get()));
    auto made = GuestMemory::make(std::move(regions));
    LATTE_CHECK(made.ok());
    memory = GuestMemoryRef(made.value());
  }
  void check(const Chain& chain) const {
    LATTE_CHECK(chain.readable <= chain.pieces.size() && chain.pieces.size() <= kMaxChainPieces);
    for (const iovec& piece : chain.pieces)
      LATTE_CHECK(inside(piece, low.get(), kRegionBytes) ||
                  inside(piece, high.get(), kRegionBytes));
  }
};

/// Reads the request, and does to the guest's memory what a device would.
bool serve(Chain& chain, const DeviceInfo& info) {
  BlkCommand command;
  if (!read_blk_command(info, chain, command)) return false;
  using Kind = BlkCommand::Kind;
  if (command.kind == Kind::read || command.kind == Kind::write) {
    LATTE_CHECK(range_within(command.offset, command.length, kDeviceBytes));
    uint64_t bytes = 0;
    for (const iovec& piece : command.data) bytes += piece.iov_len;
    LATTE_CHECK(bytes == command.length && bytes > 0 && bytes % kSectorBytes == 0);
    if (command.kind == Kind::read)
      for (const iovec& piece : command.data) std::memset(piece.iov_base, 0xa5, piece.iov_len);
  }
  for (uint32_t i = 0; i < command.range_count && command.kind != Kind::refused; ++i)
    LATTE_CHECK(range_within(command.ranges[i].offset, command.ranges[i].length, kDeviceBytes));
  if (command.kind == Kind::get_id) write_blk_id("a name of more than twenty bytes", command.data);
  *command.status = std::byte{0};
  return true;
}

void change_memory(Input& input, Guest& guest, std::byte* inflight, size_t inflight_bytes) {
  const uint32_t writes = input.take<uint8_t>() % 8;
  for (uint32_t i = 0; i < writes; ++i) {
    const auto at = input.take<uint16_t>();
    const auto value = input.take<uint16_t>();
    std::byte* target = (at & 0x8000) != 0 ? guest.high.get() : guest.low.get();
    std::memcpy(target + at % (kRegionBytes - 1), &value, sizeof(value));
    if (inflight != nullptr && (at & 0x4000) != 0)
      std::memcpy(inflight + at % (inflight_bytes - 1), &value, sizeof(value));
  }
}

void run(Input& input) {
  const auto flags = input.take<uint8_t>();
  const bool packed = (flags & 1) != 0;
  const uint32_t size = packed ? 1u + input.take<uint8_t>() % 32 : 1u << input.take<uint8_t>() % 6;
  Guest guest;
  std::shared_ptr<InflightRegion> region;
  Virtqueue::Setup setup;
  setup.size = size;
  setup.event_index = (flags & 2) != 0;
  setup.indirect = (flags & 4) != 0;
  setup.base = input.take<uint32_t>();
  // Rings at the beginning of the low region, or wherever the input says.
  setup.addresses.descriptors = kUser;
  setup.addresses.available = kUser + 1024;
  setup.addresses.used = kUser + 2048;
  if ((flags & 8) != 0) setup.addresses.used = kUser + input.take<uint16_t>();
  if ((flags & 16) != 0) {
    auto made = InflightRegion::create(1, 64, packed);
    if (!made) return;
    region = made.take();
    setup.inflight = InflightRegion::queue(region, 0);
    input.fill(setup.inflight.data,
               input.take<uint16_t>() % InflightRegion::queue_bytes(64, packed));
  }
  input.fill(guest.low.get(), input.take<uint16_t>() % kRegionBytes);
  auto made = packed ? Virtqueue::make_packed(setup, *guest.memory)
                     : Virtqueue::make_split(setup, *guest.memory);
  if (!made) return;
  Virtqueue& ring = *made.value();
  DeviceInfo info;
  info.size_bytes = kDeviceBytes;
  info.can_discard = true;
  std::deque<Chain> under_way;
  bool recovering = true;
  for (uint32_t turn = 0; turn < kMaxTurns; ++turn) {
    for (uint32_t i = 0; i <= size; ++i) {
      Chain chain;
      Pop result = recovering ? ring.pop_unfinished(*guest.memory, chain) : Pop::empty;
      if (recovering && result == Pop::empty) recovering = false;
      if (!recovering && result == Pop::empty) result = ring.pop(*guest.memory, chain);
      if (result == Pop::broken) {
        LATTE_CHECK(*ring.reason() != '\0');
        return;
      }
      if (result == Pop::empty) break;
      guest.check(chain);
      if (!serve(chain, info)) return;
      guest.check(chain);
      under_way.push_back(std::move(chain));
      LATTE_CHECK(under_way.size() <= size);
    }
    // Answers come in any order, in batches.
    for (uint32_t ends = input.take<uint8_t>() % 8; ends > 0 && !under_way.empty(); --ends) {
      const size_t one = input.take<uint8_t>() % under_way.size();
      ring.push(under_way[one], 1);
      under_way.erase(under_way.begin() + static_cast<ptrdiff_t>(one));
    }
    ring.publish();
    (void)ring.call_wanted();
    if (turn % 2 == 0) ring.suppress_kicks();
    const bool more = ring.request_kicks();
    if (input.empty() && !more) break;
    change_memory(input, guest, setup.inflight.data,
                  region ? InflightRegion::queue_bytes(64, packed) : 0);
  }
  (void)ring.base();
  if (under_way.empty()) ring.close();
}

}  // namespace
}  // namespace latte::vhost

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  latte::vhost::Input input(data, size);
  latte::vhost::run(input);
  return 0;
}
