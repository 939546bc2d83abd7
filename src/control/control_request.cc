#include "control/control_request.h"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

namespace latte {
namespace {

using Json = nlohmann::ordered_json;

// The text under `key`, or null if there is none.
const std::string* text_of(const Json& request, const char* key) {
  const auto found = request.find(key);
  return found == request.end() ? nullptr : found->get_ptr<const std::string*>();
}

constexpr std::array<std::pair<std::string_view, VolumeCommand::Action>, 4> kActions = {{
    {"create", VolumeCommand::Action::create},
    {"ls", VolumeCommand::Action::ls},
    {"rm", VolumeCommand::Action::rm},
    {"resize", VolumeCommand::Action::resize},
}};

constexpr std::array<std::pair<std::string_view, ControlRequest::Command>, 6> kOfDisks = {{
    {"drain", ControlRequest::Command::drain},
    {"takeover", ControlRequest::Command::takeover},
    {"handover", ControlRequest::Command::handover},
    {"resize", ControlRequest::Command::resize},
    {"record", ControlRequest::Command::record},
    {"snapshot", ControlRequest::Command::snapshot},
}};

constexpr std::array<std::pair<std::string_view, ControlRequest::SnapshotAction>, 3>
    kSnapshotActions = {{
        {"create", ControlRequest::SnapshotAction::create},
        {"list", ControlRequest::SnapshotAction::list},
        {"rm", ControlRequest::SnapshotAction::rm},
    }};

bool flag(const Json& request, const char* key) {
  const auto found = request.find(key);
  return found != request.end() && found->is_boolean() && found->get<bool>();
}

Result<ControlRequest> parse_snapshot(const Json& request, ControlRequest out) {
  const std::string* action = text_of(request, "action");
  const auto* known =
      std::find_if(kSnapshotActions.begin(), kSnapshotActions.end(),
                   [&](const auto& item) { return action != nullptr && *action == item.first; });
  if (known == kSnapshotActions.end())
    return Error{Errc::invalid, "snapshot needs an action: \"create\", \"list\" or \"rm\""};
  out.action = known->second;
  const std::string* name = text_of(request, "name");
  if (name != nullptr) out.snapshot = *name;
  if (out.action != ControlRequest::SnapshotAction::list && out.snapshot.empty())
    return Error{Errc::invalid, "snapshot " + *action + " needs a name"};
  return out;
}

Result<ControlRequest> parse_volume(const Json& request) {
  ControlRequest out{ControlRequest::Command::volume};
  const std::string* action = text_of(request, "action");
  const auto* known = std::find_if(kActions.begin(), kActions.end(), [&](const auto& item) {
    return action != nullptr && *action == item.first;
  });
  if (known == kActions.end())
    return Error{Errc::invalid, "volume needs an action: \"create\", \"ls\", \"rm\" or \"resize\""};
  out.volume.action = known->second;
  if (out.volume.action == VolumeCommand::Action::ls) return out;
  const std::string* name = text_of(request, "name");
  if (name == nullptr || name->empty())
    return Error{Errc::invalid,
                 "volume needs a name: {\"command\":\"volume\",\"action\":\"rm\",\"name\":NAME}"};
  out.volume.options.name = *name;
  out.volume.options.thin = flag(request, "thin");
  out.volume.force = flag(request, "force");
  if (out.volume.action == VolumeCommand::Action::rm) return out;
  const auto size = request.find("size_bytes");
  if (size == request.end() || !size->is_number_unsigned())
    return Error{Errc::invalid, "volume create and resize need size_bytes, a whole number"};
  out.volume.options.size_bytes = size->get<uint64_t>();
  return out;
}

}  // namespace

Result<ControlRequest> parse_control_request(std::string_view line) {
  const Json request = Json::parse(line, nullptr, false);
  if (!request.is_object())
    return Error{Errc::invalid, "the request is no JSON object; send {\"command\":\"status\"}"};
  const std::string* command = text_of(request, "command");
  if (command != nullptr && *command == "status")
    return ControlRequest{ControlRequest::Command::status};
  if (command != nullptr && *command == "stop")
    return ControlRequest{ControlRequest::Command::stop};
  if (command != nullptr && *command == "volume") return parse_volume(request);
  const auto* known = std::find_if(kOfDisks.begin(), kOfDisks.end(), [&](const auto& item) {
    return command != nullptr && *command == item.first;
  });
  if (known == kOfDisks.end())
    return Error{
        Errc::invalid,
        "the request's command is none of \"status\", \"drain\", \"takeover\", \"handover\", "
        "\"resize\", \"record\", \"snapshot\", \"volume\" and \"stop\""};
  const std::string* disk = text_of(request, "disk");
  if (disk == nullptr || disk->empty())
    return Error{Errc::invalid, *command + " needs a disk's name: {\"command\":\"" + *command +
                                    "\",\"disk\":NAME}"};
  ControlRequest out{known->second, *disk};
  if (out.command == ControlRequest::Command::record) {
    const auto seconds = request.find("seconds");
    if (seconds == request.end() || !seconds->is_number_unsigned() ||
        seconds->get<uint64_t>() > kMaxRecordSeconds)
      return Error{Errc::invalid, "record needs seconds, a whole number up to " +
                                      std::to_string(kMaxRecordSeconds)};
    out.seconds = seconds->get<uint32_t>();
    return out;
  }
  if (out.command == ControlRequest::Command::snapshot)
    return parse_snapshot(request, std::move(out));
  if (out.command != ControlRequest::Command::resize) return out;
  const auto size = request.find("size_bytes");
  if (size == request.end() || !size->is_number_unsigned())
    return Error{Errc::invalid, "resize needs size_bytes, a whole number"};
  out.size_bytes = size->get<uint64_t>();
  out.force = flag(request, "force");
  return out;
}

}  // namespace latte
