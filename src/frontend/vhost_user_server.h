// VhostUserServer: one BlockDevice as a vhost-user-blk device on one unix socket. Its queues may
// run on several reactors: the home reactor has the socket and the front-end's messages, each queue
// belongs to one VhostLane.
//
// Invariants:
//  1. One front-end at a time. Another one is turned away at once, unless the first has gone and
//     only its requests under way are left: then it waits for their end.
//  2. A front-end's session outlives the server if the device under it does not answer; it keeps
//     what it needs alive. The device must outlive all of that.
//  3. What a reactor's queues touch is that reactor's: its face of the device, its table of guest
//     memory. They share nothing that changes but the guest's memory and the inflight region, where
//     each queue has its own part.
// Thread rule: the home reactor's thread. The lanes' reactors run until stop() has returned; at the
// process's end they are stopped before the home reactor. Limits: one listening and one connected
// socket; what VhostShared and VhostUserSession say.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "frontend/acceptor.h"
#include "frontend/listen_address.h"
#include "frontend/vhost_queue.h"
#include "runtime/block_device.h"
#include "runtime/sync.h"
#include "runtime/uring_reactor.h"

namespace latte {

struct VhostUserServerOptions {
  uint32_t queues = 4;  ///< 1 to vhost::kMaxQueues; the front-end uses as many of them as it likes
  Polling polling = Polling::adaptive;
  /// Reads may have to be fetched from a cloud, so they don't count in the drive's WorkShare.
  bool reads_afar = false;
  /// How long stop() waits for requests under way.
  TimeNs stop_ns = 5 * kSecond;
};

/// Where queues run, and the device as that reactor has it.
struct VhostLane {
  UringReactor* reactor = nullptr;
  BlockDevice* device = nullptr;  ///< outlives the server
};

class VhostUserServer {
 public:
  /// Listens; a front-end waits in the backlog until start(). `name` is the device's, for the log
  /// and for the guest (its first 20 bytes). `device` is the home reactor's, and outlives the
  /// server. Queue i runs on lane i modulo their number; without `lanes` all are on the home
  /// reactor. Errors: as ListenSocket::open(); invalid (not a unix socket).
  static Result<std::unique_ptr<VhostUserServer>> listen(UringReactor& reactor,
                                                         const ListenAddress& address,
                                                         VhostUserServerOptions options,
                                                         std::string name, BlockDevice& device,
                                                         std::vector<VhostLane> lanes = {});
  /// Not while it accepts front-ends: call stop() before.
  ~VhostUserServer();
  VhostUserServer(const VhostUserServer&) = delete;
  VhostUserServer& operator=(const VhostUserServer&) = delete;

  void start();
  /// Accepts no more, finishes requests under way and publishes them, closes the connection and
  /// removes the socket. Takes at most VhostUserServerOptions::stop_ns.
  Task<void> stop();
  /// The device's size, say, has changed: tells the front-end, which tells the guest.
  void notify_config_changed();

  bool connected() const;
  /// Requests taken so far.
  uint64_t requests() const;
  const ListenAddress& address() const { return acceptor_.address(); }

 private:
  struct State;

  VhostUserServer(UringReactor& reactor, ListenSocket socket, VhostUserServerOptions options,
                  std::shared_ptr<State> state);
  Task<void> take_front_end(int fd);
  static Task<void> serve(std::shared_ptr<State> state, uint32_t queues, int fd, std::string peer);

  UringReactor& reactor_;
  const VhostUserServerOptions options_;
  std::shared_ptr<State> state_;
  Acceptor acceptor_;
};

}  // namespace latte
