#include "control/control_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/logging.h"
#include "control/control_request.h"
#include "log/log_format.h"

namespace latte {
namespace {

using Json = nlohmann::ordered_json;

constexpr auto kProgressInterval = std::chrono::seconds(1);
// How often what was recorded is sent on. At a million requests a second their rings hold twice as
// much.
constexpr auto kRecordInterval = std::chrono::milliseconds(30);
// Of a trace, in one line of the protocol, where each newline takes two bytes.
constexpr size_t kRecordChunkBytes = kMaxLineBytes * 3 / 4;
// Longest that somebody waits for this process's end.
constexpr int kStopMs = 600'000;
// After an accept() that failed for want of descriptors, another would fail at once.
constexpr auto kAcceptPause = std::chrono::milliseconds(1000);

Json error_json(const std::string& message) { return Json{{"error", message}}; }

// Lines of a trace, as many at a time as the protocol's lines hold; at least once.
Result<void> send_lines(LineSocket& socket, std::string_view lines) {
  Result<void> sent;
  do {
    size_t part = lines.size();
    if (part > kRecordChunkBytes) part = lines.rfind('\n', kRecordChunkBytes - 1) + 1;
    sent = socket.write_json(Json{{"lines", lines.substr(0, part)}}, ControlServer::kReplyMs);
    lines.remove_prefix(part);
  } while (sent && !lines.empty());
  return sent;
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::start(Server& server,
                                                            const std::string& path) {
  ListenAddress address;
  address.kind = ListenAddress::Kind::unix_socket;
  address.path = path;
  auto socket = ListenSocket::open(address);
  if (!socket) return Error{socket.error().code, "control socket: " + socket.error().message};
  if (::chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0)
    return Error{Errc::io, fmt::format("control socket {}: chmod: {}", path, std::strerror(errno))};
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC));
  if (!wake.valid()) return Error{Errc::io, fmt::format("eventfd: {}", std::strerror(errno))};
  return std::unique_ptr<ControlServer>(new ControlServer(server, socket.take(), std::move(wake)));
}

ControlServer::ControlServer(Server& server, ListenSocket socket, UniqueFd wake)
    : server_(server),
      socket_(std::move(socket)),
      wake_(std::move(wake)),
      thread_([this] { accept_clients(); }) {}

ControlServer::~ControlServer() { stop(); }

void ControlServer::stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  LATTE_CHECK(::write(wake_.get(), &one, sizeof(one)) == sizeof(one));
  thread_.join();
  for (Connection& connection : connections_) connection.socket.cut();
  for (Connection& connection : connections_) connection.thread.join();
  connections_.clear();
  socket_.close();
}

void ControlServer::accept_clients() {
  for (;;) {
    pollfd polled[2] = {{socket_.fd(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (::poll(polled, 2, -1) < 0) continue;
    if (polled[1].revents != 0) return;
    reap();
    UniqueFd fd(::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (fd.valid()) {
      take_client(std::move(fd));
    } else if (errno != EINTR && errno != ECONNABORTED) {
      log_warning("control socket: accept: {}; trying again", std::strerror(errno));
      std::this_thread::sleep_for(kAcceptPause);
    }
  }
}

void ControlServer::take_client(UniqueFd fd) {
  if (connections_.size() >= kMaxConnections) {
    // What fits the socket's buffer is sent at once, so this does not wait.
    LineSocket refused(std::move(fd));
    const Result<void> told = refused.write_json(
        error_json(fmt::format("{} clients are connected already; try again", kMaxConnections)), 0);
    if (!told) log_warning("control socket: a client too many: {}", told.error().message);
    return;
  }
  Connection& connection = connections_.emplace_back(std::move(fd));
  connection.thread = std::thread([this, &connection] {
    serve(connection.socket);
    connection.socket.cut();
    connection.ended = true;
  });
}

void ControlServer::reap() {
  for (auto at = connections_.begin(); at != connections_.end();) {
    if (!at->ended) {
      ++at;
      continue;
    }
    at->thread.join();
    at = connections_.erase(at);
  }
}

void ControlServer::serve(LineSocket& socket) {
  const auto line = socket.read_line(kRequestMs);
  if (!line && line.error().code == Errc::not_found) return;
  const auto request =
      line ? parse_control_request(line.value()) : Result<ControlRequest>(line.error());
  if (request && request.value().command == ControlRequest::Command::drain)
    return serve_drain(socket, request.value().disk);
  if (request && request.value().command == ControlRequest::Command::takeover)
    return serve_move(socket, request.value(), "taking over",
                      [this](const std::string& disk) { return server_.take_over(disk); });
  if (request && request.value().command == ControlRequest::Command::handover)
    return serve_move(socket, request.value(), "handing over",
                      [this](const std::string& disk) { return server_.hand_over(disk); });
  if (request && request.value().command == ControlRequest::Command::resize)
    return serve_move(socket, request.value(), "resizing", [&](const std::string& disk) {
      return server_.resize(disk, request.value().size_bytes, request.value().force);
    });
  if (request && request.value().command == ControlRequest::Command::snapshot)
    return serve_snapshot(socket, request.value());
  if (request && request.value().command == ControlRequest::Command::record)
    return serve_record(socket, request.value());
  if (request && request.value().command == ControlRequest::Command::volume)
    return serve_volume(socket, request.value().volume);
  if (request && request.value().command == ControlRequest::Command::stop)
    return serve_stop(socket);
  const Result<void> sent =
      socket.write_json(request ? Json{{"status", status_json(server_.snapshot())}}
                                : error_json(request.error().message),
                        kReplyMs);
  if (!sent)
    log_warning("control socket: a client did not take its answer: {}", sent.error().message);
}

void ControlServer::serve_snapshot(LineSocket& socket, const ControlRequest& request) {
  using Action = ControlRequest::SnapshotAction;
  if (request.action == Action::create)
    return serve_move(socket, request, "making a snapshot", [&](const std::string& disk) {
      return server_.make_snapshot(disk, request.snapshot);
    });
  if (request.action == Action::rm)
    return serve_move(socket, request, "removing a snapshot", [&](const std::string& disk) {
      return server_.remove_snapshot(disk, request.snapshot);
    });
  const auto listed = server_.list_snapshots(request.disk);
  Json snapshots = Json::array();
  if (listed)
    for (const CloudSnapshot& snapshot : listed.value()) {
      const auto super = log::parse_cloud_super(snapshot.super, snapshot.name);
      snapshots.push_back(Json{{"name", snapshot.name},
                               {"taken", static_cast<double>(snapshot.taken_ns) / 1e9},
                               {"size_bytes", super ? super.value().size_bytes : 0}});
    }
  const Result<void> sent = socket.write_json(
      listed ? Json{{"snapshots", snapshots}} : error_json(listed.error().message), kReplyMs);
  if (!sent)
    log_warning("control socket: a client did not take its answer: {}", sent.error().message);
}

void ControlServer::serve_record(LineSocket& socket, const ControlRequest& request) {
  auto recording = server_.record(request.disk);
  if (!recording) {
    (void)socket.write_json(error_json(recording.error().message), kReplyMs);
    return;
  }
  log_info("disk {}: its requests are recorded for {} s, as asked for on the control socket",
           request.disk, request.seconds);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(request.seconds);
  auto told = std::chrono::steady_clock::now();
  Result<void> sent;
  for (bool last = false; !last && sent;) {
    std::this_thread::sleep_for(kRecordInterval);
    const auto now = std::chrono::steady_clock::now();
    last = now >= end;
    std::string lines;
    recording.value()->take(lines);
    // Also without requests, now and then: so that either side notices when the other goes.
    if (lines.empty() && now - told < kProgressInterval) continue;
    told = now;
    sent = send_lines(socket, lines);
  }
  const uint64_t lost = recording.value()->lost();
  log_info("disk {}: {} requests were recorded, {} lost", request.disk,
           recording.value()->recorded(), lost);
  if (sent)
    sent = socket.write_json(
        Json{{"ok", true}, {"recorded", recording.value()->recorded()}, {"lost", lost}}, kReplyMs);
}

void ControlServer::serve_volume(LineSocket& socket, const VolumeCommand& command) {
  auto changed = std::async(std::launch::async, [&] { return server_.change_volumes(command); });
  Result<void> sent;
  while (changed.wait_for(kProgressInterval) != std::future_status::ready)
    if (sent) sent = socket.write_json(Json{{"progress", Json::object()}}, kReplyMs);
  const auto done = changed.get();
  if (command.action != VolumeCommand::Action::ls) {
    if (done)
      log_info("volume {}: changed, as asked for on the control socket", command.options.name);
    else
      log_warning("{}", done.error().message);
  }
  if (sent)
    sent = socket.write_json(
        done ? Json{{"volumes", volumes_json(done.value())}} : error_json(done.error().message),
        kReplyMs);
}

void ControlServer::serve_move(
    LineSocket& socket, const ControlRequest& request, const char* what,
    const std::function<Result<std::string>(const std::string& disk)>& move) {
  log_info("disk {}: {}, as asked for on the control socket", request.disk, what);
  auto moved = std::async(std::launch::async, [&] { return move(request.disk); });
  Result<void> sent;
  while (moved.wait_for(kProgressInterval) != std::future_status::ready)
    if (sent) sent = socket.write_json(Json{{"progress", Json::object()}}, kReplyMs);
  const auto done = moved.get();
  if (!done) log_warning("{}", done.error().message);
  if (sent)
    sent = socket.write_json(
        done ? Json{{"ok", true}, {"report", done.value()}} : error_json(done.error().message),
        kReplyMs);
}

void ControlServer::serve_stop(LineSocket& socket) {
  log_info("stopping, as asked for on the control socket");
  const Result<void> sent = socket.write_json(Json{{"ok", true}}, kReplyMs);
  if (!sent)
    log_warning("control socket: a client did not take its answer: {}", sent.error().message);
  // A second signal would end the process at once.
  if (!stop_asked_.exchange(true)) ::kill(::getpid(), SIGTERM);
  // stop() cuts it: until then the client waits.
  (void)socket.read_line(kStopMs);
}

void ControlServer::serve_drain(LineSocket& socket, const std::string& disk_name) {
  Progress progress;
  log_info("disk {}: draining, as asked for on the control socket", disk_name);
  auto drained =
      std::async(std::launch::async, [&] { return server_.drain(disk_name, &progress); });
  Result<void> sent;
  while (drained.wait_for(kProgressInterval) != std::future_status::ready) {
    if (!sent) continue;
    sent = socket.write_json(Json{{"progress",
                                   {{"done_bytes", progress.done_bytes.load()},
                                    {"total_bytes", progress.total_bytes.load()}}}},
                             kReplyMs);
  }
  const Result<void> done = drained.get();
  if (done)
    log_info("disk {}: drained", disk_name);
  else
    log_warning("disk {}: not drained: {}", disk_name, done.error().message);
  if (sent)
    sent =
        socket.write_json(done ? Json{{"ok", true}} : error_json(done.error().message), kReplyMs);
}

}  // namespace latte
