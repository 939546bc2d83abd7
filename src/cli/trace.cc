// trace record: what clients ask of a disk that is served, as a trace.
#include <fmt/format.h>

#include <algorithm>

#include "cli/commands.h"
#include "cli/stop_signals.h"
#include "control/control_client.h"
#include "control/offline.h"
#include "trace/csv_writer.h"
#include "trace/packed_file.h"

namespace latte {

int run_trace(const Arguments& arguments) {
  const auto config = read_config(arguments);
  if (!config) return report(config.error(), kExitCannotRun);
  const Result<void> known = check_disk(config.value(), arguments.disk);
  if (!known) return report(known.error(), kExitCannotRun);
  const Result<void> reachable = check_control_socket(config.value());
  if (!reachable) return report(reachable.error(), kExitCannotRun);
  const StopSignals signals;
  auto file = trace::PackedFile::create(arguments.trace.file);
  if (!file) return report(file.error(), kExitCannotRun);
  Result<void> written = file.value()->write(trace::CsvWriter::header());
  uint64_t count = 0;
  const auto take = [&](const std::string& lines) -> Result<bool> {
    written = file.value()->write(lines);
    if (!written) return written.error();
    count += static_cast<uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
    return !signals.came();
  };
  Result<Recorded> done = written ? ask_record(config.value().control_socket, arguments.disk,
                                               arguments.trace.seconds, take)
                                  : Result<Recorded>(written.error());
  // Also after an error: what was recorded until then is a trace, too.
  const Result<void> closed = written ? file.value()->close() : written;
  if (!done) return report(done.error(), kExitFailed);
  if (!closed) return report(closed.error(), kExitFailed);
  fmt::print("disk {}: {} requests in {}\n", arguments.disk, count, arguments.trace.file);
  if (done.value().lost == 0) return kExitOk;
  return report({Errc::io, fmt::format("{} more requests came faster than they could be recorded",
                                       done.value().lost)},
                kExitFailed);
}

}  // namespace latte
