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

Result<void> VhostUserSession::handle_memory(const Message& message, Descriptors& descriptors) {
  GuestMemory::Regions regions;
  if (message.request != Request::set_mem_table && memory_) regions = memory_->regions();
  if (message.request == Request::rem_mem_reg) {
    const RegionDescription& gone = message.regions[0];
    const size_t removed = std::erase_if(regions, [&](const auto& region) {
      return region->guest_begin() == gone.guest_address && region->size() == gone.size &&
             region->description().user_address == gone.user_address;
    });
    if (removed == 0)
      return refused(fmt::format("there is no memory region of {} bytes at guest address {:#x}",
                                 gone.size, gone.guest_address));
    return use_memory(std::move(regions));
  }
  for (uint32_t i = 0; i < message.region_count; ++i) {
    auto region = GuestRegion::map(message.regions[i], descriptors[i].get());
    if (!region) return region.error();
    regions.push_back(region.take());
  }
  return use_memory(std::move(regions));
}

Result<void> VhostUserSession::use_memory(GuestMemory::Regions regions) {
  Result<GuestMemory*> made = GuestMemory::make(std::move(regions));
  if (!made) return made.error();
  memory_ = GuestMemoryRef(made.value());
  for (Ring& ring : rings_)
    if (ring.queue) ring.queue->set_memory(memory_);
  return {};
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
      co_await stop_ring(ring);
      reply_ = Reply::ring_state(message.request, message.ring, ring.base);
      break;
    case Request::set_vring_kick:
      if (!message.has_fd)
        co_return refused("a ring without a kick descriptor would have to be polled for ever");
      co_return co_await start_ring(message.ring, std::move(descriptors[0]));
    case Request::set_vring_call: {
      std::unique_ptr<DriverCall> call;
      if (message.has_fd) {
        auto made = DriverCall::make(descriptors[0].get());
        if (!made) co_return made.error();
        call = made.take();
      }
      if (ring.queue) ring.queue->set_call(call.get());
      ring.call = std::move(call);
      break;
    }
    case Request::set_vring_err:
      break;  // errors are in the log
    case Request::set_vring_enable:
      ring.enabled = message.value != 0;
      if (ring.queue) ring.queue->set_enabled(ring.enabled);
      break;
    default:
      LATTE_CHECK(false);
  }
  co_return Result<void>();
}

Task<Result<void>> VhostUserSession::start_ring(uint32_t index, UniqueFd kick) {
  Ring& ring = rings_[index];
  co_await stop_ring(ring);
  if (!is_event(kick.get())) co_return refused("the kick descriptor is no eventfd");
  if (!memory_ || ring.size == 0 || !ring.has_addresses)
    co_return refused(fmt::format("ring {} has no memory, size or addresses yet", index));
  Virtqueue::Setup setup;
  setup.size = ring.size;
  setup.addresses = ring.addresses;
  setup.base = ring.base;
  setup.event_index = agreed(VIRTIO_RING_F_EVENT_IDX);
  setup.indirect = agreed(VIRTIO_RING_F_INDIRECT_DESC);
  const bool packed = agreed(VIRTIO_F_RING_PACKED);
  if (inflight_ && inflight_->packed() != packed)
    co_return refused("the inflight region is of the other kind of rings");
  setup.inflight = InflightRegion::queue(inflight_, index);
  auto made =
      packed ? Virtqueue::make_packed(setup, *memory_) : Virtqueue::make_split(setup, *memory_);
  if (!made) co_return made.error();
  ring.queue = std::make_unique<VhostQueue>(shared_, index, made.take(), ring.size, memory_,
                                            std::move(kick), ring.call.get());
  ring.queue->start();
  // Without protocol features rings begin enabled; SET_VRING_ENABLE belongs to them.
  if ((features_ & kFeatureProtocol) == 0) ring.enabled = true;
  ring.queue->set_enabled(ring.enabled);
  co_return Result<void>();
}

Task<void> VhostUserSession::stop_ring(Ring& ring) {
  if (!ring.queue) co_return;
  co_await ring.queue->stop();
  ring.base = ring.queue->base();
  ring.queue.reset();
}

Task<void> VhostUserSession::stop_rings() {
  for (Ring& ring : rings_) co_await stop_ring(ring);
}

}  // namespace latte::vhost
