#include "frontend/vhost_user_session.h"

#include <fmt/format.h>
#include <linux/virtio_config.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "frontend/ring_access.h"

namespace latte::vhost {
namespace {

constexpr uint64_t kTransportFeatures =
    kFeatureProtocol | 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_RING_PACKED |
    1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC;

}  // namespace

VhostUserSession::VhostUserSession(VhostDevice& device, uint32_t queues, UniqueFd fd,
                                   std::string peer)
    : device_(device),
      reactor_(device.reactor),
      channel_(device.reactor, std::move(fd),
               fmt::format("disk {}: vhost front-end {}", device.name, peer)),
      lanes_(device.lanes.size()),
      rings_(queues),
      deadline_(device.reactor),
      changed_(device.reactor) {
  LATTE_CHECK(queues > 0 && queues <= kMaxQueues);
  LATTE_CHECK(!lanes_.empty());
  for (size_t i = 0; i < lanes_.size(); ++i) lanes_[i].shared = device.lanes[i].get();
  for (size_t i = 0; i < rings_.size(); ++i) rings_[i].lane = &lanes_[i % lanes_.size()];
  use_features(0);
  note_.session = this;
  note_.complete = [](UringOp* op, int) {
    static_cast<ConfigNote*>(op)->session->changed_.notify_all();
  };
}

VhostUserSession::~VhostUserSession() = default;

void VhostUserSession::begin_stop() {
  ending_ = true;
  channel_.end_receiving();
}

bool VhostUserSession::ending() const { return ending_ || channel_.peer_gone(); }

Task<void> VhostUserSession::serve() {
  log_info("{} connected", channel_.who());
  deadline_.set(reactor_.now() + kFirstMessageNs);
  watching_ = true;
  reactor_.spawn(watch_deadline());
  co_await receive_messages();
  begin_stop();
  co_await stop_rings(VhostQueue::Stop::cut);
  deadline_.end();
  while (watching_ || note_.under_way) co_await changed_.wait();
  log_info("{} has left", channel_.who());
}

Task<void> VhostUserSession::watch_deadline() {
  for (;;) {
    const bool expired = co_await deadline_.expired();
    if (!expired) break;
    log_warning("{} said nothing, or half a message; disconnected", channel_.who());
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
    const bool begun = co_await channel_.receive(head, &descriptors);
    if (!begun) co_return;
    Result<Header> header = parse_header(head);
    if (header) {
      const std::span<std::byte> bytes(payload.data(), header.value().size);
      deadline_.set(reactor_.now() + kMessageNs);
      const bool whole = co_await channel_.receive(bytes, nullptr);
      if (!whole) co_return;
      deadline_.set(Deadline::kNever);
    }
    Result<Message> message =
        header ? parse_message(header.value(), {payload.data(), header.value().size},
                               descriptors.size())
               : Result<Message>(header.error());
    if (!message) {
      log_error("{} disconnected: {}", channel_.who(), message.error().message);
      co_return;
    }
    reply_.reset();
    const Request request = message.value().request;
    const Result<void> done = co_await handle(message.value(), descriptors);
    if (!done) log_error("{}: {}: {}", channel_.who(), to_string(request), done.error().message);
    const bool acknowledge =
        message.value().need_reply && (protocol_features_ & kProtocolReplyAck) != 0;
    if (!reply_ && acknowledge) reply_ = Reply::number(request, done ? 0 : 1);
    if (!done && !reply_) co_return;
    if (!reply_) continue;
    const UniqueFd fd = std::move(reply_fd_);
    const bool sent = co_await channel_.send(*reply_, fd.get());
    if (!sent) co_return;
  }
}

uint64_t VhostUserSession::features_offered() const {
  return kTransportFeatures |
         blk_features(device_.device.info(), static_cast<uint32_t>(rings_.size()));
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
      co_return co_await handle_memory(message, descriptors);
    case Request::get_inflight_fd:
    case Request::set_inflight_fd:
      co_return handle_inflight(message, descriptors);
    case Request::reset_device:
      co_await reset();
      break;
    case Request::set_status:
      device_status_ = message.number;
      if (device_status_ == 0) co_await stop_rings(VhostQueue::Stop::asked);
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
  if (features != features_) use_features(features);
  return {};
}

/// While no ring runs.
void VhostUserSession::use_features(uint64_t features) {
  features_ = features;
  for (const Lane& lane : lanes_) lane.shared->write_through = !agreed(VIRTIO_BLK_F_FLUSH);
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
      blk_config(device_.device.info(), static_cast<uint32_t>(rings_.size()));
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

Task<void> VhostUserSession::reset() {
  co_await stop_rings(VhostQueue::Stop::asked);
  for (Ring& ring : rings_) ring.forget();
  use_features(0);
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
