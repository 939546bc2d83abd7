// NbdServer: listens on one address and serves block devices to NBD clients there.
//
// Invariants:
//  1. The exports are complete before start() and never change after it.
//  2. A client's connection outlives the server if the device under it does not answer; it keeps
//     what it needs (the table of exports) alive. The devices must outlive all of that.
// Thread rule: the reactor's thread. Limits: NbdServerOptions::connections clients; more are turned
// away. Each may take what nbd::Limits say: see memory_bound_bytes().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "frontend/acceptor.h"
#include "frontend/deadline.h"
#include "frontend/listen_address.h"
#include "frontend/nbd_connection.h"
#include "frontend/nbd_export.h"
#include "runtime/block_device.h"
#include "runtime/uring_reactor.h"

namespace latte {

struct NbdServerOptions {
  uint32_t connections = 64;
  nbd::Limits client;

  /// Most memory that clients can make the server hold.
  uint64_t memory_bound_bytes() const {
    return connections * (client.data_bytes + nbd::kReceiveBytes);
  }
};

class NbdServer {
 public:
  /// Listens; clients wait in the backlog until start(). Errors: as ListenSocket::open().
  static Result<std::unique_ptr<NbdServer>> listen(UringReactor& reactor,
                                                   const ListenAddress& address,
                                                   NbdServerOptions options);
  /// Not while it accepts clients: call stop() before.
  ~NbdServer();
  NbdServer(const NbdServer&) = delete;
  NbdServer& operator=(const NbdServer&) = delete;

  /// Before start(). Errors: as nbd::ExportTable::add().
  Result<void> add_export(std::string name, std::string description, BlockDevice& device);
  /// Accepts clients from now on.
  void start();
  /// Accepts no more clients, lets requests under way end and be answered, closes the connections
  /// and removes the socket. Takes little more than nbd::Limits::stop_ns at most: a device that
  /// does not answer by then leaves its connection behind, cut off from the client.
  Task<void> stop();

  uint32_t client_count() const;
  const ListenAddress& address() const { return acceptor_.address(); }
  /// The URI under which clients find `export_name` here.
  std::string uri(std::string_view export_name) const { return address().nbd_uri(export_name); }

 private:
  struct Client;
  struct Clients;

  NbdServer(UringReactor& reactor, ListenSocket socket, NbdServerOptions options);
  Task<void> take_client(int fd);
  static Task<void> serve_client(UringReactor& reactor, std::shared_ptr<Clients> clients,
                                 nbd::Limits limits, int fd, std::string peer);

  UringReactor& reactor_;
  const NbdServerOptions options_;
  std::shared_ptr<Clients> clients_;
  Acceptor acceptor_;
};

}  // namespace latte
