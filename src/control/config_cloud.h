// The configuration's sections about what a cloud volume may be asked for.
//
// Thread rule: none.
#pragma once

#include <string>

#include "control/config_reader.h"
#include "device/cloud_limits.h"

namespace latte {

/// [disk.cloud_limits]
bool read_cloud_limits(ConfigReader& reader, const toml::table& table, const std::string& key,
                       CloudLimits& limits);

}  // namespace latte
