// The configuration's sections about what a cloud volume may be asked for.
//
// Thread rule: none.
#pragma once

#include <string>

#include "control/advisor_config.h"
#include "control/config_reader.h"
#include "device/cloud_limits.h"
#include "device/cloud_price.h"

namespace latte {

/// [disk.cloud_limits]
bool read_cloud_limits(ConfigReader& reader, const toml::table& table, const std::string& key,
                       CloudLimits& limits);
/// [disk.advisor]
bool read_advisor(ConfigReader& reader, const toml::table& table, const std::string& key,
                  AdvisorConfig& advisor);
/// What an advisor needs of the disk's limits.
bool check_advisor(ConfigReader& reader, const toml::node& node, const std::string& key,
                   const CloudLimits& limits);
/// [price]
bool read_prices(ConfigReader& reader, const toml::table& table, const std::string& key,
                 PriceTable& prices);

}  // namespace latte
