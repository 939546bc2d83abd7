#include "control/volume_command.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "control/config_values.h"
#include "control/json_values.h"

namespace latte {

using Json = nlohmann::ordered_json;

Result<std::vector<VolumeFacts>> run_volume_command(Node& node, const VolumeCommand& command) {
  const auto found = node.volumes();
  if (!found) return found.error();
  VolumeSpace& space = *found.value();
  EngineThread& engine = node.engine();
  const VolumeOptions& options = command.options;
  Result<void> done;
  switch (command.action) {
    case VolumeCommand::Action::ls:
      return engine.call([&] { return space.list(); });
    case VolumeCommand::Action::create:
      done = engine.call([&] { return space.create(options); });
      break;
    case VolumeCommand::Action::rm:
      done = engine.call([&] { return space.remove(options.name); });
      break;
    case VolumeCommand::Action::resize:
      done = engine.call(
          [&] { return space.resize(options.name, options.size_bytes, command.force); });
      break;
  }
  if (!done) return done.error();
  return std::vector<VolumeFacts>{};
}

Result<std::vector<VolumeFacts>> change_volumes_offline(const Config& config,
                                                        const VolumeCommand& command) {
  auto node = Node::open(config, {});
  if (!node) return node.error();
  return run_volume_command(*node.value(), command);
}

Json volumes_json(const std::vector<VolumeFacts>& volumes) {
  Json out = Json::array();
  for (const VolumeFacts& volume : volumes)
    out.push_back(Json{{"name", volume.name},
                       {"id", volume.id.to_string()},
                       {"size_bytes", volume.size_bytes},
                       {"allocated_bytes", volume.allocated_bytes},
                       {"thin", volume.thin},
                       {"served", volume.served},
                       {"damage", volume.damage}});
  return out;
}

std::string volumes_text(const Json& volumes) {
  std::string text;
  if (!volumes.is_array()) return text;
  for (const Json& volume : volumes) {
    if (!volume.is_object()) continue;
    const std::string damage = value_of(volume, "damage", std::string());
    std::string state = value_of(volume, "served", false) ? "served" : "not served";
    if (!damage.empty()) state = "damaged: " + damage;
    text += fmt::format("{}: {}, {} allocated, {}, {}\n", value_of(volume, "name", std::string()),
                        format_size(value_of(volume, "size_bytes", uint64_t{0})),
                        format_size(value_of(volume, "allocated_bytes", uint64_t{0})),
                        value_of(volume, "thin", false) ? "thin" : "thick", state);
  }
  return text;
}

}  // namespace latte
