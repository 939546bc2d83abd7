#include "control/control_client.h"

#include <nlohmann/json.hpp>

#include "control/json_values.h"
#include "control/line_socket.h"

namespace latte {
namespace {

using Json = nlohmann::ordered_json;

// A cluster has 30 s to answer.
constexpr int kListMs = 35'000;

Result<Json> read_answer(LineSocket& socket, int timeout_ms = kAnswerMs) {
  auto line = socket.read_line(timeout_ms);
  if (!line) return Error{Errc::io, "the server at control.socket: " + line.error().message};
  Json answer = Json::parse(line.value(), nullptr, false);
  if (!answer.is_object())
    return Error{Errc::invalid,
                 "the server's answer is no JSON object; is it latte at control.socket?"};
  const auto error = answer.find("error");
  if (error != answer.end() && error->is_string())
    return Error{Errc::io, error->get<std::string>()};
  return answer;
}

Result<LineSocket> ask(const std::string& socket_path, const Json& request) {
  auto socket = LineSocket::connect(socket_path);
  if (!socket) return socket;
  const Result<void> sent = socket.value().write_json(request, kAnswerMs);
  if (!sent) return sent.error();
  return socket;
}

// Sends the request and waits for a sentence about what was done.
Result<std::string> ask_report(const std::string& socket_path, const Json& request) {
  auto socket = ask(socket_path, request);
  if (!socket) return socket.error();
  for (;;) {
    const auto answer = read_answer(socket.value());
    if (!answer) return answer.error();
    if (!answer.value().contains("ok")) continue;
    const auto report = answer.value().find("report");
    return report != answer.value().end() && report->is_string() ? report->get<std::string>() : "";
  }
}

}  // namespace

Result<Json> ask_status(const std::string& socket_path) {
  auto socket = ask(socket_path, Json{{"command", "status"}});
  if (!socket) return socket.error();
  auto answer = read_answer(socket.value());
  if (!answer) return answer;
  const auto status = answer.value().find("status");
  if (status == answer.value().end())
    return Error{Errc::invalid,
                 "the server's answer has no status; is it latte at control.socket?"};
  return Json(*status);
}

Result<void> ask_drain(const std::string& socket_path, const std::string& disk_name,
                       Progress* progress) {
  auto socket = ask(socket_path, Json{{"command", "drain"}, {"disk", disk_name}});
  if (!socket) return socket.error();
  for (;;) {
    const auto answer = read_answer(socket.value());
    if (!answer) return answer.error();
    if (answer.value().contains("ok")) return {};
    const auto report = answer.value().find("progress");
    if (report == answer.value().end() || !report->is_object()) continue;
    const auto figure = [&](const char* key) {
      const auto found = report->find(key);
      return found != report->end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
    };
    progress->total_bytes = figure("total_bytes");
    progress->done_bytes = figure("done_bytes");
  }
}

Result<std::string> ask_move(const std::string& socket_path, const std::string& command,
                             const std::string& disk_name) {
  return ask_report(socket_path, Json{{"command", command}, {"disk", disk_name}});
}

Result<std::string> ask_resize(const std::string& socket_path, const std::string& disk_name,
                               uint64_t size_bytes, bool force) {
  return ask_report(socket_path, Json{{"command", "resize"},
                                      {"disk", disk_name},
                                      {"size_bytes", size_bytes},
                                      {"force", force}});
}

Result<std::string> ask_snapshot(const std::string& socket_path, const std::string& action,
                                 const std::string& disk_name, const std::string& snapshot) {
  return ask_report(
      socket_path,
      Json{{"command", "snapshot"}, {"action", action}, {"disk", disk_name}, {"name", snapshot}});
}

Result<Json> ask_snapshots(const std::string& socket_path, const std::string& disk_name) {
  auto socket =
      ask(socket_path, Json{{"command", "snapshot"}, {"action", "list"}, {"disk", disk_name}});
  if (!socket) return socket.error();
  const auto answer = read_answer(socket.value(), kListMs);
  if (!answer) return answer;
  const auto snapshots = answer.value().find("snapshots");
  if (snapshots == answer.value().end())
    return Error{Errc::invalid, "the server's answer has no snapshots"};
  return Json(*snapshots);
}

Result<Recorded> ask_record(const std::string& socket_path, const std::string& disk_name,
                            uint32_t seconds,
                            const std::function<Result<bool>(const std::string& lines)>& take) {
  auto socket =
      ask(socket_path, Json{{"command", "record"}, {"disk", disk_name}, {"seconds", seconds}});
  if (!socket) return socket.error();
  for (;;) {
    const auto answer = read_answer(socket.value());
    if (!answer) return answer.error();
    const Json& said = answer.value();
    if (said.contains("ok"))
      return Recorded{value_of(said, "recorded", uint64_t{0}), value_of(said, "lost", uint64_t{0}),
                      true};
    const auto lines = said.find("lines");
    if (lines == said.end() || !lines->is_string()) continue;
    const auto more = take(lines->get<std::string>());
    if (!more) return more.error();
    if (!more.value()) return Recorded{};
  }
}

Result<void> ask_stop(const std::string& socket_path) {
  auto socket = ask(socket_path, Json{{"command", "stop"}});
  if (!socket) return socket.error();
  const auto answer = read_answer(socket.value());
  if (!answer)
    return Error{answer.error().code, answer.error().message +
                                          "; a server that does not know \"stop\" is stopped by "
                                          "SIGTERM"};
  const auto end = socket.value().read_line(kStopAnswerMs);
  if (!end && end.error().code == Errc::not_found) return {};  // it has hung up
  return Error{Errc::io,
               fmt::format("the running server does not stop: {}; its log says what it waits for. "
                           "SIGKILL ends it, and loses nothing that it acknowledged",
                           end ? "it talks instead" : end.error().message)};
}

Result<Json> ask_volume(const std::string& socket_path, const VolumeCommand& command) {
  constexpr const char* kActions[] = {"create", "ls", "rm", "resize"};
  const Json request{
      {"command", "volume"},          {"action", kActions[static_cast<size_t>(command.action)]},
      {"name", command.options.name}, {"size_bytes", command.options.size_bytes},
      {"thin", command.options.thin}, {"force", command.force}};
  auto socket = ask(socket_path, request);
  if (!socket) return socket.error();
  for (;;) {
    const auto answer = read_answer(socket.value());
    if (!answer) return answer.error();
    const auto volumes = answer.value().find("volumes");
    if (volumes != answer.value().end()) return Json(*volumes);
  }
}

}  // namespace latte
