#include "frontend/vhost_user_session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "frontend/ring_access.h"

namespace latte::vhost {
namespace {

/// Most entries that the control data of one message can have.
constexpr size_t kControlBytes = CMSG_SPACE(kMaxDescriptors * sizeof(int));

constexpr uint64_t kTransportFeatures =
    kFeatureProtocol | 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_RING_PACKED |
    1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC;

bool has(uint64_t features, uint32_t bit) { return (features >> bit & 1) != 0; }

Error refused(std::string what) { return {Errc::invalid, std::move(what)}; }

/// A kick descriptor: an eventfd, which is an anonymous inode of no type. Files that are
/// always ready would keep the reactor busy.
bool is_event(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && (status.st_mode & S_IFMT) == 0;
}

/// Takes the descriptors out of a received message. False: some were cut off.
bool take_descriptors(msghdr& header, std::vector<UniqueFd>& out) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      out.emplace_back(fd);
    }
  }
  return (header.msg_flags & MSG_CTRUNC) == 0;
}

}  // namespace

VhostUserSession::VhostUserSession(VhostShared& shared, uint32_t queues, UniqueFd fd,
                                   std::string peer)
    : shared_(shared),
      reactor_(shared.reactor),
      fd_(std::move(fd)),
      peer_(std::move(peer)),
      rings_(queues),
      deadline_(shared.reactor),
      changed_(shared.reactor) {
  LATTE_CHECK(queues > 0 && queues <= kMaxQueues);
  note_.session = this;
  note_.complete = [](UringOp* op, int) {
    static_cast<ConfigNote*>(op)->session->changed_.notify_all();
  };
}

VhostUserSession::~VhostUserSession() = default;

void VhostUserSession::begin_stop() {
  ending_ = true;
  ::shutdown(fd_.get(), SHUT_RDWR);
}

bool VhostUserSession::ending() const {
  // The end of its stream may lie in the socket without having been read yet.
  pollfd peer{fd_.get(), POLLRDHUP, 0};
  return ending_ || (::poll(&peer, 1, 0) == 1 && (peer.revents & (POLLRDHUP | POLLHUP)) != 0);
}

Task<void> VhostUserSession::serve() {
  log_info("disk {}: vhost front-end {} connected", shared_.name, peer_);
  deadline_.set(reactor_.now() + kFirstMessageNs);
  watching_ = true;
  reactor_.spawn(watch_deadline());
  co_await receive_messages();
  begin_stop();
  co_await stop_rings();
  deadline_.end();
  while (watching_ || note_.under_way) co_await changed_.wait();
  log_info("disk {}: vhost front-end {} has left", shared_.name, peer_);
}

Task<void> VhostUserSession::watch_deadline() {
  for (;;) {
    const bool expired = co_await deadline_.expired();
    if (!expired) break;
    log_warning("disk {}: vhost front-end {} said nothing, or half a message; disconnected",
                shared_.name, peer_);
    begin_stop();
  }
  watching_ = false;
  changed_.notify_all();
}

Task<void> VhostUserSession::receive_messages() {
  std::array<std::byte, sizeof(Header)> head;
  std::array<std::byte, kMaxPayloadBytes> payload;
  for (;;) {
    Descriptors descriptors;
    const bool begun = co_await receive_exactly(head, &descriptors);
    if (!begun) co_return;
    Result<Header> header = parse_header(head);
    if (header) {
      const std::span<std::byte> bytes(payload.data(), header.value().size);
      deadline_.set(reactor_.now() + kMessageNs);
      const bool whole = co_await receive_exactly(bytes, nullptr);
      if (!whole) co_return;
      deadline_.set(Deadline::kNever);
    }
    Result<Message> message =
        header ? parse_message(header.value(), {payload.data(), header.value().size},
                               descriptors.size())
               : Result<Message>(header.error());
    if (!message) {
      log_error("disk {}: vhost front-end {} disconnected: {}", shared_.name, peer_,
                message.error().message);
      co_return;
    }
    reply_.reset();
    const Request request = message.value().request;
    const Result<void> done = co_await handle(message.value(), descriptors);
    if (!done)
      log_error("disk {}: vhost front-end {}: {}: {}", shared_.name, peer_, to_string(request),
                done.error().message);
    const bool acknowledge =
        message.value().need_reply && (protocol_features_ & kProtocolReplyAck) != 0;
    if (!reply_ && acknowledge) reply_ = Reply::number(request, done ? 0 : 1);
    if (!done && !reply_) co_return;
    if (!reply_) continue;
    const UniqueFd fd = std::move(reply_fd_);
    const bool sent = co_await send(*reply_, fd.get());
    if (!sent) co_return;
  }
}

/// False: the front-end has gone.
Task<bool> VhostUserSession::receive_exactly(std::span<std::byte> bytes, Descriptors* descriptors) {
  alignas(cmsghdr) std::array<char, kControlBytes> control;
  while (!bytes.empty()) {
    iovec piece{bytes.data(), bytes.size()};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    if (descriptors != nullptr) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
    }
    const int got = co_await reactor_.op([&](io_uring_sqe* sqe) {
      io_uring_prep_recvmsg(sqe, fd_.get(), &header, MSG_CMSG_CLOEXEC);
    });
    if (got == -EINTR || got == -EAGAIN) continue;
    if (got <= 0) co_return false;
    if (descriptors != nullptr && !take_descriptors(header, *descriptors)) {
      log_error("disk {}: vhost front-end {} disconnected: more than {} descriptors in a message",
                shared_.name, peer_, kMaxDescriptors);
      co_return false;
    }
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  co_return true;
}

/// False: the front-end has gone. `fd`: goes along unless it is -1.
Task<bool> VhostUserSession::send(Reply reply, int fd) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  std::span<const std::byte> bytes = reply.bytes();
  while (!bytes.empty()) {
    iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    if (fd >= 0) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      cmsghdr* part = CMSG_FIRSTHDR(&header);
      part->cmsg_level = SOL_SOCKET;
      part->cmsg_type = SCM_RIGHTS;
      part->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(part), &fd, sizeof(int));
    }
    const int sent = co_await reactor_.op(
        [&](io_uring_sqe* sqe) { io_uring_prep_sendmsg(sqe, fd_.get(), &header, MSG_NOSIGNAL); });
    if (sent == -EINTR || sent == -EAGAIN) continue;
    if (sent <= 0) co_return false;
    fd = -1;
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
  co_return true;
}

uint64_t VhostUserSession::features_offered() const {
  return kTransportFeatures |
         blk_features(shared_.device.info(), static_cast<uint32_t>(rings_.size()));
}

bool VhostUserSession::any_running() const {
  return std::any_of(rings_.begin(), rings_.end(),
                     [](const Ring& ring) { return ring.queue != nullptr; });
}

Task<Result<void>> VhostUserSession::handle(const Message& message, Descriptors& descriptors) {
  switch (message.request) {
    case Request::get_features:
      reply_ = Reply::number(message.request, features_offered());
      break;
    case Request::set_features:
      co_return set_features(message.number);
    case Request::set_owner:
    case Request::reset_owner:  // deprecated; back-ends are to ignore it
      break;
    case Request::get_protocol_features:
      reply_ = Reply::number(message.request, kProtocolOffered);
      break;
    case Request::set_protocol_features:
      co_return set_protocol_features(message.number);
    case Request::get_queue_num:
      reply_ = Reply::number(message.request, rings_.size());
      break;
    case Request::get_config:
      co_return get_config(message);
    case Request::set_config:
      co_return refused("nothing in the configuration space can be written");
    case Request::set_backend_req_fd:
      while (note_.under_way) co_await changed_.wait();
      backend_channel_ = std::move(descriptors[0]);
      break;
    case Request::get_max_mem_slots:
      reply_ = Reply::number(message.request, kMaxRegions);
      break;
    case Request::set_mem_table:
    case Request::add_mem_reg:
    case Request::rem_mem_reg:
      co_return handle_memory(message, descriptors);
    case Request::get_inflight_fd:
    case Request::set_inflight_fd:
      co_return handle_inflight(message, descriptors);
    case Request::reset_device:
      co_await reset();
      break;
    case Request::set_status:
      device_status_ = message.number;
      if (device_status_ == 0) co_await stop_rings();
      break;
    case Request::get_status:
      reply_ = Reply::number(message.request, device_status_);
      break;
    default:
      co_return co_await handle_ring(message, descriptors);
  }
  co_return Result<void>();
}

Result<void> VhostUserSession::set_features(uint64_t features) {
  if ((features & ~features_offered()) != 0)
    return refused(fmt::format("features {:#x} were not offered", features & ~features_offered()));
  if (features != features_ && any_running())
    return refused("features cannot change while rings run");
  features_ = features;
  shared_.write_through = !has(features, VIRTIO_BLK_F_FLUSH);
  return {};
}

Result<void> VhostUserSession::set_protocol_features(uint64_t features) {
  if ((features & ~kProtocolOffered) != 0)
    return refused(
        fmt::format("protocol features {:#x} were not offered", features & ~kProtocolOffered));
  protocol_features_ = features;
  return {};
}

Result<void> VhostUserSession::get_config(const Message& message) {
  const virtio_blk_config config =
      blk_config(shared_.device.info(), static_cast<uint32_t>(rings_.size()));
  // Front-ends ask for what their own struct has; fields that ours lacks read as 0.
  std::array<std::byte, kMaxConfigAccessBytes> space{};
  static_assert(sizeof(config) <= kMaxConfigAccessBytes);
  std::memcpy(space.data(), &config, sizeof(config));
  const ConfigAccess& access = message.config;
  if (!range_within(access.offset, access.size, space.size()) || access.size == 0) {
    reply_ = Reply::config(access, {});
    return refused(
        fmt::format("{} bytes at {}: outside the configuration space", access.size, access.offset));
  }
  reply_ = Reply::config(access, std::span(space).subspan(access.offset, access.size));
  return {};
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
  const bool packed = has(features_, VIRTIO_F_RING_PACKED);
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
  setup.event_index = has(features_, VIRTIO_RING_F_EVENT_IDX);
  setup.indirect = has(features_, VIRTIO_RING_F_INDIRECT_DESC);
  const bool packed = has(features_, VIRTIO_F_RING_PACKED);
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

Task<void> VhostUserSession::reset() {
  co_await stop_rings();
  for (Ring& ring : rings_) ring = Ring();
  features_ = 0;
  device_status_ = 0;
  inflight_.reset();
}

void VhostUserSession::notify_config_changed() {
  const uint64_t needed = kProtocolBackendRequests | kProtocolConfig;
  if ((protocol_features_ & needed) != needed || !backend_channel_.valid() || note_.under_way)
    return;
  const std::span<const std::byte> bytes = note_message_.bytes();
  note_.piece = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  note_.header.msg_iov = &note_.piece;
  note_.header.msg_iovlen = 1;
  // A front-end that does not read its channel misses the note rather than holding us.
  reactor_.submit(note_, [this](io_uring_sqe* sqe) {
    io_uring_prep_sendmsg(sqe, backend_channel_.get(), &note_.header, MSG_NOSIGNAL | MSG_DONTWAIT);
  });
}

}  // namespace latte::vhost
