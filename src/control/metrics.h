// The metrics, declared in one table; /metrics and docs/reference/metrics.md are made from it.
//
// Names are a contract with dashboards and alarms: metrics are added, never renamed. Labels are
// bounded: the disks of the configuration, and fixed words. Thread rule: none; pure functions.
#pragma once

#include <string>

#include "control/status.h"

namespace latte {

/// The snapshot in Prometheus' text format, version 0.0.4.
std::string metrics_text(const StatusSnapshot& snapshot);
/// The table as docs/reference/metrics.md has it.
std::string metrics_markdown();

}  // namespace latte
