// A request on the control socket, read from one line of JSON.
//
// Thread rule: none; a pure function. Limits: the line's, kMaxLineBytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "control/volume_command.h"

namespace latte {

/// A week: longest recording of a disk's requests.
inline constexpr uint32_t kMaxRecordSeconds = 7 * 24 * 3600;

struct ControlRequest {
  enum class Command : uint8_t {
    status,
    drain,
    takeover,
    handover,
    resize,
    record,
    snapshot,
    volume,
    stop
  };
  Command command = Command::status;
  std::string disk{};       ///< of all but status, volume and stop; never empty then
  uint64_t size_bytes = 0;  ///< resize
  bool force = false;       ///< likewise
  uint32_t seconds = 0;     ///< record
  enum class SnapshotAction : uint8_t { create, list, rm } action = SnapshotAction::list;
  std::string snapshot{};  ///< snapshot's name, for create and rm; what is in it was not looked at
  VolumeCommand volume{};  ///< volume's; what is in it was not looked at beyond its types
};

/// Errors: invalid, with a message for the client.
Result<ControlRequest> parse_control_request(std::string_view line);

}  // namespace latte
