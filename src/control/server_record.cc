// Server, recording what clients ask of a disk.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/logging.h"
#include "control/server.h"

namespace latte {

Result<std::unique_ptr<TraceRecording>> Server::record(const std::string& disk_name) {
  const std::lock_guard moving(move_mutex_);
  if (stopping_) return Error{Errc::busy, "the server is stopping; try again when it has ended"};
  const auto found = std::find_if(disks_.begin(), disks_.end(), [&](const Served& served) {
    return served.config->options.name == disk_name;
  });
  if (found == disks_.end())
    return Error{Errc::not_found,
                 fmt::format("disk {}: the server's configuration has no such disk", disk_name)};
  Served& served = *found;
  auto& engine = node_->engine();
  auto ring = std::make_shared<IoTraceRing>();
  TimeNs start_ns = 0;
  const char* refused = engine.call([&]() -> const char* {
    if (served.trace_ring) return "a recording is under way already; wait for its end";
    if (served.tracing == nullptr) return "it is not served here at the moment";
    served.trace_ring = ring;
    served.tracing->trace_into(ring);
    start_ns = engine.reactor().now();
    return nullptr;
  });
  if (refused != nullptr) return Error{Errc::busy, fmt::format("disk {}: {}", disk_name, refused)};
  TraceRecording::Rings rings = workers_->start_trace(disk_name);
  rings.push_back(std::move(ring));
  return std::make_unique<TraceRecording>(std::move(rings), start_ns,
                                          [this, &served] { stop_recording(served); });
}

void Server::stop_recording(Served& served) {
  node_->engine().call([&] {
    served.trace_ring.reset();
    if (served.tracing != nullptr) served.tracing->trace_into(nullptr);
  });
  workers_->stop_trace(served.config->options.name);
}

}  // namespace latte
