// What `latte volume` does, offline and through a running server.
//
// Thread rule: run_volume_command() and change_volumes_offline() block; any thread but the
// engine's.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/config.h"
#include "control/node.h"
#include "disk/volume_space.h"

namespace latte {

struct VolumeCommand {
  enum class Action : uint8_t { create, ls, rm, resize };
  Action action = Action::ls;
  VolumeOptions
      options{};       ///< name for all but ls; size_bytes for create and resize; thin for create
  bool force = false;  ///< resize: it may become smaller
};

/// Does it in an opened node. ls gives the volumes, the others nothing. Errors: as Node::volumes()
/// and VolumeSpace's functions.
Result<std::vector<VolumeFacts>> run_volume_command(Node& node, const VolumeCommand& command);
/// Does it without a server. Errors: busy (a server runs), as Node::open(), as above.
Result<std::vector<VolumeFacts>> change_volumes_offline(const Config& config,
                                                        const VolumeCommand& command);

/// A list of volumes as JSON, and that for a person.
nlohmann::ordered_json volumes_json(const std::vector<VolumeFacts>& volumes);
std::string volumes_text(const nlohmann::ordered_json& volumes);

}  // namespace latte
