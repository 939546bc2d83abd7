#include "frontend/nbd_server.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "frontend/socket_transport.h"

namespace latte {
namespace {

// What stop() grants connections beyond their own limit to wind up.
constexpr TimeNs kStopGraceNs = 500 * kMillisecond;

}  // namespace

struct NbdServer::Client : ListNode {
  Client(UringReactor& reactor, const nbd::ExportTable& exports, const nbd::Limits& limits, int fd,
         std::string peer)
      : transport(reactor, fd), connection(reactor, exports, limits, transport, std::move(peer)) {}
  SocketTransport transport;
  nbd::Connection connection;
};

// What the connections share, and what outlives the server with them.
struct NbdServer::Clients {
  nbd::ExportTable exports;
  IntrusiveList<Client> list;
  uint32_t count = 0;
  Deadline* all_gone = nullptr;  // stop() waits here
};

NbdServer::NbdServer(UringReactor& reactor, ListenSocket socket, NbdServerOptions options)
    : reactor_(reactor),
      options_(options),
      clients_(std::make_shared<Clients>()),
      acceptor_(reactor, std::move(socket), "a client",
                [this](int fd) { return take_client(fd); }) {
  LATTE_CHECK(options.connections > 0);
}

NbdServer::~NbdServer() = default;

Result<std::unique_ptr<NbdServer>> NbdServer::listen(UringReactor& reactor,
                                                     const ListenAddress& address,
                                                     NbdServerOptions options) {
  Result<ListenSocket> socket = ListenSocket::open(address);
  if (!socket) return socket.error();
  return std::unique_ptr<NbdServer>(new NbdServer(reactor, socket.take(), options));
}

Result<void> NbdServer::add_export(std::string name, std::string description, BlockDevice& device) {
  LATTE_CHECK(!acceptor_.started() && !acceptor_.stopping());
  return clients_->exports.add(std::move(name), std::move(description), device);
}

uint32_t NbdServer::client_count() const { return clients_->count; }

void NbdServer::start() { acceptor_.start(); }

Task<void> NbdServer::take_client(int fd) {
  if (acceptor_.stopping() || clients_->count >= options_.connections) {
    if (!acceptor_.stopping())
      log_warning("{}: client turned away: there are {} already", address().to_string(),
                  clients_->count);
    ::close(fd);
    co_return;
  }
  std::string peer = fmt::format("{} at {}", describe_peer(fd), address().to_string());
  std::shared_ptr<Clients> clients = clients_;
  ++clients_->count;
  Task<void> served =
      serve_client(reactor_, std::move(clients), options_.client, fd, std::move(peer));
  reactor_.spawn(std::move(served));
}

Task<void> NbdServer::serve_client(UringReactor& reactor, std::shared_ptr<Clients> clients,
                                   nbd::Limits limits, int fd, std::string peer) {
  {
    Client client(reactor, clients->exports, limits, fd, std::move(peer));
    clients->list.push_back(client);
    if (clients->all_gone != nullptr) client.connection.begin_stop();
    co_await client.connection.serve();
  }
  --clients->count;
  if (clients->count == 0 && clients->all_gone != nullptr) clients->all_gone->end();
}

Task<void> NbdServer::stop() {
  if (!acceptor_.begin_stop()) co_return;
  co_await acceptor_.ended();
  if (clients_->count == 0) co_return;

  Deadline all_gone(reactor_);
  all_gone.set(reactor_.now() + options_.client.stop_ns + kStopGraceNs);
  clients_->all_gone = &all_gone;
  clients_->list.for_each([](Client& client) { client.connection.begin_stop(); });
  const bool too_late = co_await all_gone.expired();
  clients_->all_gone = nullptr;
  if (too_late) {
    log_warning("{}: stopped while {} clients still waited for their disk; they were cut off",
                address().to_string(), clients_->count);
  }
}

}  // namespace latte
