#include "frontend/vhost_user_server.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "frontend/deadline.h"
#include "frontend/socket_transport.h"
#include "frontend/vhost_user_session.h"

namespace latte {
namespace {

/// Data under way on a lane, however many there are: some large requests.
constexpr uint64_t kLeastDataBytes = 8u << 20;

}  // namespace

// What a session needs, and what outlives the server with it.
struct VhostUserServer::State {
  State(UringReactor& home, BlockDevice& home_device, const std::string& name,
        const std::vector<VhostLane>& lanes, const VhostUserServerOptions& options)
      : device(home, home_device, name), session_ended(home) {
    for (const VhostLane& lane : lanes) {
      auto& shared = device.lanes.emplace_back(
          std::make_unique<vhost::VhostShared>(*lane.reactor, *lane.device, name));
      shared->polling = options.polling;
      shared->reads_afar = options.reads_afar;
      shared->data_bytes_max = std::max(shared->data_bytes_max / lanes.size(), kLeastDataBytes);
    }
  }
  vhost::VhostDevice device;
  vhost::VhostUserSession* session = nullptr;
  WaitQueue session_ended;
  Deadline* gone = nullptr;  // stop() waits here
};

VhostUserServer::VhostUserServer(UringReactor& reactor, ListenSocket socket,
                                 VhostUserServerOptions options, std::shared_ptr<State> state)
    : reactor_(reactor),
      options_(options),
      state_(std::move(state)),
      acceptor_(reactor, std::move(socket), "a front-end",
                [this](int fd) { return take_front_end(fd); }) {
  LATTE_CHECK(options.queues > 0 && options.queues <= vhost::kMaxQueues);
}

VhostUserServer::~VhostUserServer() = default;

Result<std::unique_ptr<VhostUserServer>> VhostUserServer::listen(
    UringReactor& reactor, const ListenAddress& address, VhostUserServerOptions options,
    std::string name, BlockDevice& device, std::vector<VhostLane> lanes) {
  if (address.kind != ListenAddress::Kind::unix_socket)
    return Error{Errc::invalid, fmt::format("vhost-user needs a unix socket, not {}: guest memory "
                                            "is passed as descriptors",
                                            address.to_string())};
  Result<ListenSocket> socket = ListenSocket::open(address);
  if (!socket) return socket.error();
  if (lanes.empty()) lanes.push_back({&reactor, &device});
  auto state = std::make_shared<State>(reactor, device, name, lanes, options);
  return std::unique_ptr<VhostUserServer>(
      new VhostUserServer(reactor, socket.take(), options, std::move(state)));
}

bool VhostUserServer::connected() const { return state_->session != nullptr; }
uint64_t VhostUserServer::requests() const {
  uint64_t sum = 0;
  for (const auto& lane : state_->device.lanes)
    sum += lane->requests.load(std::memory_order_relaxed);
  return sum;
}

void VhostUserServer::notify_config_changed() {
  if (state_->session != nullptr) state_->session->notify_config_changed();
}

void VhostUserServer::start() { acceptor_.start(); }

Task<void> VhostUserServer::take_front_end(int fd) {
  // A front-end that lost its connection comes back before the old requests have ended.
  while (!acceptor_.stopping() && state_->session != nullptr && state_->session->ending())
    co_await state_->session_ended.wait();
  if (acceptor_.stopping() || state_->session != nullptr) {
    if (!acceptor_.stopping())
      log_warning(
          "disk {}: vhost front-end {} turned away: another one has the device; give each "
          "disk one guest",
          state_->device.name, describe_peer(fd));
    ::close(fd);
    co_return;
  }
  std::string peer = fmt::format("{} at {}", describe_peer(fd), address().to_string());
  std::shared_ptr<State> state = state_;
  Task<void> served = serve(std::move(state), options_.queues, fd, std::move(peer));
  reactor_.spawn(std::move(served));
}

Task<void> VhostUserServer::serve(std::shared_ptr<State> state, uint32_t queues, int fd,
                                  std::string peer) {
  {
    vhost::VhostUserSession session(state->device, queues, UniqueFd(fd), std::move(peer));
    state->session = &session;
    if (state->gone != nullptr) session.begin_stop();
    co_await session.serve();
    state->session = nullptr;
  }
  state->session_ended.notify_all();
  if (state->gone != nullptr) state->gone->end();
}

Task<void> VhostUserServer::stop() {
  if (!acceptor_.begin_stop()) co_return;
  state_->session_ended.notify_all();
  co_await acceptor_.ended();
  if (state_->session == nullptr) co_return;

  Deadline gone(reactor_);
  gone.set(reactor_.now() + options_.stop_ns);
  state_->gone = &gone;
  state_->session->begin_stop();
  const bool too_late = co_await gone.expired();
  state_->gone = nullptr;
  if (too_late)
    log_warning("{}: stopped while requests of the guest still waited for their disk",
                address().to_string());
}

}  // namespace latte
