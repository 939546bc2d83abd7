// The page at / and the verdict at /healthz.
//
// Thread rule: none; pure functions.
#pragma once

#include <string>

#include "control/status.h"

namespace latte {

/// One line for each thing that keeps this host from full service; empty if all is well. A cloud
/// that does not answer is no trouble here until writers wait for it: restarting the server would
/// not help.
std::string describe_trouble(const StatusSnapshot& snapshot);

/// The status as a page of HTML that asks again every two seconds; no script, nothing from
/// elsewhere.
std::string status_page(const StatusSnapshot& snapshot);

}  // namespace latte
