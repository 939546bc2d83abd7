#include "ring_driver.h"

#include <cstring>
#include <utility>

#include "bench_disk.h"
#include "frontend/ring_access.h"

namespace latte::bench {
namespace {

using vhost::load_acquire;
using vhost::load_once;
using vhost::Request;
using vhost::store_once;
using vhost::store_release;

constexpr size_t kHeadersAt = 256u << 10;
constexpr size_t kHeaderStride = 64;
constexpr size_t kStatusAt = 16;  // behind the header
constexpr size_t kDataAt = 1u << 20;
static_assert(kDataAt + RingDriver::kMaxDepth * kBlockBytes <= vhost::test::kMemoryBytes);
// Positions in the available and the used ring, in words of 16 bits.
constexpr size_t kFlags = 0;
constexpr size_t kIndex = 1;
constexpr size_t kEntries = 2;

uint64_t features() {
  return vhost::kFeatureProtocol | 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH;
}

}  // namespace

RingDriver::RingDriver(Options options)
    : options_(std::move(options)),
      blocks_(options_.disk_bytes / kBlockBytes),
      ring_(memory_, 0, kRingSize),
      front_(options_.socket_path),
      kick_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      call_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      random_(options_.random_seed) {
  LATTE_CHECK(options_.depth > 0 && options_.depth <= kMaxDepth);
  LATTE_CHECK(blocks_ > 0);
  lay_out();
}

void RingDriver::lay_out() {
  const uint16_t data_flags = options_.writes ? 0 : VRING_DESC_F_WRITE;
  for (uint32_t i = 0; i < options_.depth; ++i) {
    std::byte* header = memory_.data() + kHeadersAt + i * kHeaderStride;
    std::byte* data = memory_.data() + kDataAt + i * kBlockBytes;
    std::memset(data, static_cast<int>(i + 1), kBlockBytes);
    headers_.push_back(reinterpret_cast<Header*>(header));
    statuses_.push_back(header + kStatusAt);
    *headers_.back() = {options_.writes ? uint32_t{VIRTIO_BLK_T_OUT} : VIRTIO_BLK_T_IN, 0, 0};
    const auto first = static_cast<uint16_t>(i * kDescriptors);
    vhost::Descriptor* chain = ring_.descriptors() + first;
    chain[0] = {guest_address(memory_, header), sizeof(Header), VRING_DESC_F_NEXT,
                static_cast<uint16_t>(first + 1)};
    chain[1] = {guest_address(memory_, data), kBlockBytes,
                static_cast<uint16_t>(VRING_DESC_F_NEXT | data_flags),
                static_cast<uint16_t>(first + 2)};
    chain[2] = {guest_address(memory_, header + kStatusAt), 1, VRING_DESC_F_WRITE, 0};
  }
  store_once(ring_.available() + kFlags, uint16_t{VRING_AVAIL_F_NO_INTERRUPT});
}

void RingDriver::connect() {
  const auto must = [](bool done, const char* what) {
    if (!done) fail("vhost-user", what);
  };
  must(front_.connect(), "the server does not listen");
  must(front_.negotiate(features()), "features refused");
  if (options_.inflight) {
    // The answer is the message that gives the region back.
    const vhost::InflightDescription wanted{0, 0, 1, kRingSize};
    const auto number = [](Request request) { return static_cast<uint32_t>(request); };
    must(front_.send(number(Request::get_inflight_fd), &wanted, vhost::kInflightBytes), "inflight");
    const auto region = front_.receive(&inflight_);
    must(region && inflight_.valid(), "no inflight region");
    must(front_.send(number(Request::set_inflight_fd), region->data(), region->size(),
                     {inflight_.get()}),
         "inflight");
  }
  must(front_.set_memory(memory_), "memory refused");
  must(front_.start_ring(0, ring_, kRingSize, 0, kick_.get(), call_.get()), "ring refused");
  // Answered when the ring runs: messages are handled in order.
  must(front_.ask(Request::get_features).has_value(), "the connection was closed");
}

void RingDriver::offer(uint32_t slot) {
  headers_[slot]->sector = random_.below(blocks_) * (kBlockBytes / kSectorBytes);
  store_once(ring_.available() + kEntries + available_ % kRingSize,
             static_cast<uint16_t>(slot * kDescriptors));
  ++available_;
  ++under_way_;
}

void RingDriver::publish() {
  store_release(ring_.available() + kIndex, available_);
  if (!ring_.kick_wanted()) return;
  const uint64_t one = 1;
  if (::write(kick_.get(), &one, sizeof(one)) != sizeof(one)) fail("kick", std::strerror(errno));
}

void RingDriver::begin() {
  for (uint32_t i = 0; i < options_.depth; ++i) offer(i);
  publish();
}

uint32_t RingDriver::poll() {
  const uint16_t now = load_acquire(ring_.used() + kIndex);
  const auto done = static_cast<uint16_t>(now - used_);
  if (done == 0) return 0;
  uint32_t failed = 0;
  for (; used_ != now; ++used_) {
    const auto* element =
        reinterpret_cast<const uint32_t*>(ring_.used() + kEntries + used_ % kRingSize * 4);
    const uint32_t slot = load_once(element) / kDescriptors;
    --under_way_;
    if (load_once(statuses_[slot]) != std::byte{VIRTIO_BLK_S_OK}) ++failed;
    if (!ending_) offer(slot);
  }
  if (!ending_) publish();
  // One writer, so no read-modify-write is needed.
  requests_.store(requests() + done, std::memory_order_relaxed);
  if (failed > 0) errors_.store(errors() + failed, std::memory_order_relaxed);
  return done;
}

}  // namespace latte::bench
