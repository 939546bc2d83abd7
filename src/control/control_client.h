// The other end of control_server.h.
//
// Thread rule: any thread; blocks. Limits: a server that says nothing for kAnswerMs is given up.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "control/volume_command.h"
#include "disk/host.h"

namespace latte {

inline constexpr int kAnswerMs = 10000;
inline constexpr int kStopAnswerMs = 120'000;

/// The server's status document. Errors: not_found (no server), io, invalid (an answer that is
/// none).
Result<nlohmann::ordered_json> ask_status(const std::string& socket_path);
/// Lets the server drain a disk and waits; keeps `progress` up to date. Errors: not_found (no
/// server), io (no answer, or what the server says).
Result<void> ask_drain(const std::string& socket_path, const std::string& disk_name,
                       Progress* progress);

/// Lets the server do "takeover" or "handover" of a disk and waits; a sentence about what was done.
/// Errors: not_found (no server), io (no answer, or what the server says).
Result<std::string> ask_move(const std::string& socket_path, const std::string& command,
                             const std::string& disk_name);

/// Lets the server resize a disk and waits; as above.
Result<std::string> ask_resize(const std::string& socket_path, const std::string& disk_name,
                               uint64_t size_bytes, bool force);

/// Lets the server do "create" or "rm" with a snapshot and waits; as above.
Result<std::string> ask_snapshot(const std::string& socket_path, const std::string& action,
                                 const std::string& disk_name, const std::string& snapshot);
/// The snapshots of a disk: a list of {name, taken (s since 1970), size_bytes}. Errors: as above.
Result<nlohmann::ordered_json> ask_snapshots(const std::string& socket_path,
                                             const std::string& disk_name);

struct Recorded {
  uint64_t requests = 0;
  uint64_t lost = 0;   ///< requests that came faster than they could be recorded
  bool whole = false;  ///< for the whole time; else it was ended by `take`
};

/// Lets the server record the requests of a disk for `seconds` and calls `take` with lines of a
/// trace as they come, at least every other second, with none if there are none; false from it ends
/// the recording, and then neither requests nor lost ones are counted. Errors: not_found (no
/// server), io (no answer, or what the server says), those of `take`.
Result<Recorded> ask_record(const std::string& socket_path, const std::string& disk_name,
                            uint32_t seconds,
                            const std::function<Result<bool>(const std::string& lines)>& take);

/// Lets the server stop, as by SIGTERM, and waits until no disk is served any more (what it has
/// locked it gives free some milliseconds later). Errors: not_found (no server), io (it does not
/// stop within kStopAnswerMs, or what it says).
Result<void> ask_stop(const std::string& socket_path);

/// Lets the server do something with volumes and waits; the volumes as volumes_json() (ls). Errors:
/// not_found (no server), io (no answer, or what the server says).
Result<nlohmann::ordered_json> ask_volume(const std::string& socket_path,
                                          const VolumeCommand& command);

}  // namespace latte
