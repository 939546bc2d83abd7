// VhostUserSession, what a front-end sets up: the guest's memory, the inflight region, the rings.
//
// Invariants: those of vhost_user_session.h. Limits: kMaxRegions, kMaxQueues, kMaxQueueSize.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/virtio_config.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "frontend/ring_access.h"
#include "frontend/vhost_user_session.h"

namespace latte::vhost {
namespace {

/// A kick descriptor: an eventfd, which is an anonymous inode of no type. Files that are
/// always ready would keep the reactor busy.
bool is_event(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && (status.st_mode & S_IFMT) == 0;
}

}  // namespace

bool VhostUserSession::any_running() const {
  return std::any_of(rings_.begin(), rings_.end(),
                     [](const Ring& ring) { return ring.queue != nullptr; });
}

/// As it was made, but for its reactor.
void VhostUserSession::Ring::forget() {
  LATTE_CHECK(!queue);
  Lane* const same = lane;
  *this = Ring();
  lane = same;
}

Task<Result<void>> VhostUserSession::handle_memory(const Message& message,
                                                   Descriptors& descriptors) {
  GuestMemory::Regions regions;
  if (message.request != Request::set_mem_table) regions = regions_;
  if (message.request == Request::rem_mem_reg) {
    const RegionDescription& gone = message.regions[0];
    const size_t removed = std::erase_if(regions, [&](const auto& region) {
      return region->guest_begin() == gone.guest_address && region->size() == gone.size &&
             region->description().user_address == gone.user_address;
    });
    if (removed == 0)
      co_return refused(fmt::format("there is no memory region of {} bytes at guest address {:#x}",
                                    gone.size, gone.guest_address));
    co_return co_await use_memory(std::move(regions));
  }
  for (uint32_t i = 0; i < message.region_count; ++i) {
    auto region = GuestRegion::map(message.regions[i], descriptors[i].get());
    if (!region) co_return region.error();
    regions.push_back(region.take());
  }
  co_return co_await use_memory(std::move(regions));
}

/// Each lane gets a table of its own: what it remembers and counts is not shared.
Task<Result<void>> VhostUserSession::use_memory(GuestMemory::Regions regions) {
  for (Lane& lane : lanes_) {
    Result<GuestMemory*> made = GuestMemory::make(regions);
    if (!made) co_return made.error();  // as for all of them: none has changed yet
    GuestMemory* const table = made.value();
    const auto use = [this, &lane, table] {
      lane.memory = GuestMemoryRef(table);
      for (Ring& ring : rings_)
        if (ring.lane == &lane && ring.queue) ring.queue->set_memory(lane.memory);
    };
    co_await run_on(reactor_, lane.shared->reactor, use);
  }
  regions_ = std::move(regions);
  co_return Result<void>();
}

Result<void> VhostUserSession::handle_inflight(const Message& message, Descriptors& descriptors) {
  const bool packed = agreed(VIRTIO_F_RING_PACKED);
  if (any_running()) return refused("the inflight region cannot change while rings run");
  if (message.request == Request::set_inflight_fd) {
    auto region = InflightRegion::map(message.inflight, std::move(descriptors[0]), packed);
    if (!region) return region.error();
    inflight_ = region.take();
    return {};
  }
  auto region =
      InflightRegion::create(message.inflight.queues, message.inflight.queue_size, packed);
  if (!region) {
    // The front-end waits for an answer: nothing of size 0.
    reply_ = Reply::inflight(message.request, {});
    return region.error();
  }
  inflight_ = region.take();
  reply_ = Reply::inflight(message.request, inflight_->description());
  reply_fd_ = UniqueFd(::fcntl(inflight_->fd(), F_DUPFD_CLOEXEC, 0));
  if (reply_fd_.valid()) return {};
  return Error{Errc::no_space, "no descriptor is left for the inflight region"};
}

Task<Result<void>> VhostUserSession::handle_ring(const Message& message, Descriptors& descriptors) {
  if (message.ring >= rings_.size())
    co_return refused(fmt::format("ring {}; the device has {}", message.ring, rings_.size()));
  Ring& ring = rings_[message.ring];
  const bool setting_up = message.request == Request::set_vring_num ||
                          message.request == Request::set_vring_addr ||
                          message.request == Request::set_vring_base;
  if (setting_up && ring.queue) co_return refused(fmt::format("ring {} is running", message.ring));
  switch (message.request) {
    case Request::set_vring_num:
      if (message.value == 0 || message.value > kMaxQueueSize)
        co_return refused(
            fmt::format("ring of {} entries; 1 to {} are taken", message.value, kMaxQueueSize));
      ring.size = message.value;
      break;
    case Request::set_vring_addr:
      ring.addresses = message.addresses;
      ring.has_addresses = true;
      break;
    case Request::set_vring_base:
      ring.base = message.value;
      break;
    case Request::get_vring_base:
      co_await stop_ring(ring, VhostQueue::Stop::asked);
      reply_ = Reply::ring_state(message.request, message.ring, ring.base);
      break;
    case Request::set_vring_kick:
      if (!message.has_fd)
        co_return refused("a ring without a kick descriptor would have to be polled for ever");
      co_return co_await start_ring(message.ring, std::move(descriptors[0]));
    case Request::set_vring_call:
      co_return co_await set_call(ring, message.has_fd, descriptors);
    case Request::set_vring_err:
      break;  // errors are in the log
    case Request::set_vring_enable:
      ring.enabled = message.value != 0;
      if (ring.queue) co_await on_lane(ring, [&ring] { ring.queue->set_enabled(ring.enabled); });
      break;
    default:
      LATTE_CHECK(false);
  }
  co_return Result<void>();
}

Task<Result<void>> VhostUserSession::set_call(Ring& ring, bool has_fd, Descriptors& descriptors) {
  std::unique_ptr<DriverCall> call;
  if (has_fd) {
    auto made = DriverCall::make(descriptors[0].get());
    if (!made) co_return made.error();
    call = made.take();
  }
  DriverCall* const next = call.get();
  if (ring.queue) co_await on_lane(ring, [&ring, next] { ring.queue->set_call(next); });
  ring.call = std::move(call);
  co_return Result<void>();
}

Task<Result<void>> VhostUserSession::start_ring(uint32_t index, UniqueFd kick) {
  Ring& ring = rings_[index];
  co_await stop_ring(ring, VhostQueue::Stop::asked);
  if (!is_event(kick.get())) co_return refused("the kick descriptor is no eventfd");
  if (regions_.empty() || ring.size == 0 || !ring.has_addresses)
    co_return refused(fmt::format("ring {} has no memory, size or addresses yet", index));
  // Without protocol features rings begin enabled; SET_VRING_ENABLE belongs to them.
  if ((features_ & kFeatureProtocol) == 0) ring.enabled = true;
  const auto start = [this, index, &ring, &kick]() -> Result<void> {
    auto made = make_virtqueue(index);
    if (!made) return made.error();
    ring.queue = std::make_unique<VhostQueue>(*ring.lane->shared, index, made.take(), ring.size,
                                              ring.lane->memory, std::move(kick), ring.call.get());
    ring.queue->start();
    ring.queue->set_enabled(ring.enabled);
    return {};
  };
  co_return co_await on_lane(ring, start);
}

/// On the ring's reactor.
Result<std::unique_ptr<Virtqueue>> VhostUserSession::make_virtqueue(uint32_t index) const {
  const Ring& ring = rings_[index];
  Virtqueue::Setup setup;
  setup.size = ring.size;
  setup.addresses = ring.addresses;
  setup.base = ring.base;
  setup.event_index = agreed(VIRTIO_RING_F_EVENT_IDX);
  setup.indirect = agreed(VIRTIO_RING_F_INDIRECT_DESC);
  const bool packed = agreed(VIRTIO_F_RING_PACKED);
  if (inflight_ && inflight_->packed() != packed)
    return refused("the inflight region is of the other kind of rings");
  setup.inflight = InflightRegion::queue(inflight_, index);
  const GuestMemory& memory = *ring.lane->memory;
  return packed ? Virtqueue::make_packed(setup, memory) : Virtqueue::make_split(setup, memory);
}

Task<void> VhostUserSession::stop_ring(Ring& ring, VhostQueue::Stop why) {
  if (!ring.queue) co_return;
  const auto stop = [&ring, why]() -> Task<void> {
    co_await ring.queue->stop(why);
    ring.base = ring.queue->base();
    ring.queue.reset();
  };
  co_await on_lane(ring, stop);
}

Task<void> VhostUserSession::stop_rings(VhostQueue::Stop why) {
  for (Ring& ring : rings_) co_await stop_ring(ring, why);
}

}  // namespace latte::vhost
