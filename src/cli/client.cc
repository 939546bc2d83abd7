// status and drain: from the running server, if there is one.
#include <fmt/format.h>

#include "cli/commands.h"

namespace latte {

int run_status(const Arguments&) { return report(Error{}, kExitFailed); }
int run_drain(const Arguments&) { return report(Error{}, kExitFailed); }

}  // namespace latte
