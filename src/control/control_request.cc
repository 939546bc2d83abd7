#include "control/control_request.h"

#include <nlohmann/json.hpp>

namespace latte {
namespace {

using Json = nlohmann::json;

// The text under `key`, or null if there is none.
const std::string* text_of(const Json& request, const char* key) {
  const auto found = request.find(key);
  return found == request.end() ? nullptr : found->get_ptr<const std::string*>();
}

}  // namespace

Result<ControlRequest> parse_control_request(std::string_view line) {
  const Json request = Json::parse(line, nullptr, false);
  if (!request.is_object())
    return Error{Errc::invalid, "the request is no JSON object; send {\"command\":\"status\"}"};
  const std::string* command = text_of(request, "command");
  if (command != nullptr && *command == "status")
    return ControlRequest{ControlRequest::Command::status, ""};
  if (command == nullptr || *command != "drain")
    return Error{Errc::invalid, "the request's command is neither \"status\" nor \"drain\""};
  const std::string* disk = text_of(request, "disk");
  if (disk == nullptr || disk->empty())
    return Error{Errc::invalid, "drain needs a disk's name: {\"command\":\"drain\",\"disk\":NAME}"};
  return ControlRequest{ControlRequest::Command::drain, *disk};
}

}  // namespace latte
