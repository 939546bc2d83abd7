// ControlServer: answers `latte status`, `latte drain`, `latte volume` and `latte serve --replace`
// on a unix socket, for the user it runs as.
//
// One JSON document a line each way, one request a connection:
//   {"command":"status"}              -> {"status":{...}}
//   {"command":"drain","disk":"db"}   -> {"progress":{"done_bytes","total_bytes"}} every second,
//   then {"ok":true}
//   {"command":"record","disk":"db","seconds":60}
//                                     -> {"lines":"0,R,4096,512\n..."} (a trace; docs/reference/
//   replay.md) several times a second, then {"ok":true,"recorded":...,"lost":...}
//   {"command":"volume","action":"ls"} and others (control_request.cc)
//                                     -> {"progress":{}} every second, then {"volumes":[...]}
//   {"command":"stop"}                -> {"ok":true}, then the process stops as by SIGTERM; the
//   connection ends when no disk is served any more
//   anything wrong                    -> {"error":"..."}
//
// Invariants:
//  1. Whatever a client sends or does not send, its connection ends within the limits below, but
//     for a drain, a change of volumes or a stop, which end with what they do, and a recording; a
//     client that leaves stops only the last.
// Thread rule: start() and stop() on one thread. A thread accepts, one more serves each connection.
// Limits: kMaxConnections at a time, kMaxLineBytes a request, kRequestMs to send it, kReplyMs to
// take a line.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "base/result.h"
#include "control/control_request.h"
#include "control/line_socket.h"
#include "control/server.h"
#include "control/volume_command.h"
#include "frontend/listen_address.h"

namespace latte {

class ControlServer {
 public:
  static constexpr size_t kMaxConnections = 16;
  static constexpr int kRequestMs = 5000;
  static constexpr int kReplyMs = 5000;

  /// `server` outlives it. Errors: as ListenSocket::open().
  static Result<std::unique_ptr<ControlServer>> start(Server& server, const std::string& path);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// Takes no more requests and cuts off waiting clients; returns when all threads have ended.
  /// Drains under way must end: stop the server before.
  void stop();

 private:
  struct Connection {
    explicit Connection(UniqueFd fd) : socket(std::move(fd)) {}
    LineSocket socket;
    std::thread thread;
    std::atomic<bool> ended{false};
  };

  ControlServer(Server& server, ListenSocket socket, UniqueFd wake);
  void accept_clients();
  void take_client(UniqueFd fd);
  void reap();
  void serve(LineSocket& socket);
  void serve_drain(LineSocket& socket, const std::string& disk_name);
  void serve_move(LineSocket& socket, const ControlRequest& request, const char* what,
                  const std::function<Result<std::string>(const std::string& disk)>& move);
  void serve_record(LineSocket& socket, const ControlRequest& request);
  void serve_snapshot(LineSocket& socket, const ControlRequest& request);
  void serve_volume(LineSocket& socket, const VolumeCommand& command);
  void serve_stop(LineSocket& socket);

  Server& server_;
  ListenSocket socket_;
  UniqueFd wake_;
  std::atomic<bool> stop_asked_{false};
  std::list<Connection> connections_;  // the accepting thread's, until that has ended
  std::thread thread_;
};

}  // namespace latte
