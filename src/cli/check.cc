// check.
#include <fmt/format.h>

#include "cli/commands.h"
#include "control/config.h"
#include "control/offline.h"

namespace latte {

int run_check(const Arguments& arguments) {
  const auto config = read_config(arguments);
  if (!config) return report(config.error(), kExitCannotRun);
  const CheckReport checked = check_offline(config.value());
  for (const Finding& finding : checked.findings)
    fmt::print("{}: {}\n", finding.damage ? "damage" : "note", finding.text);
  for (const Error& error : checked.not_run) report(error, kExitCannotRun);
  if (checked.damaged()) return kExitFailed;
  if (!checked.not_run.empty()) return kExitCannotRun;
  fmt::print("clean: pool and {} disks\n", config.value().disks.size());
  return kExitOk;
}

}  // namespace latte
