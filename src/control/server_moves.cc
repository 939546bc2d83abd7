// Server, disks that move between hosts while it runs.
#include <fmt/format.h>

#include <utility>

#include "base/logging.h"
#include "control/server.h"
#include "disk/hybrid_disk.h"

namespace latte {

/// The disk that a move is about. The caller has move_mutex_.
Result<Server::Served*> Server::begin_move(const std::string& disk_name) {
  if (stopping_) return Error{Errc::busy, "the server is stopping; try again when it has ended"};
  for (Served& served : disks_) {
    if (served.config->options.name != disk_name) continue;
    if (served.config->kind == DiskKind::hybrid) return &served;
    return Error{Errc::invalid,
                 fmt::format("disk {}: it is local: it has no cloud side", disk_name)};
  }
  return Error{Errc::not_found,
               fmt::format("disk {}: the server's configuration has no such disk", disk_name)};
}

Result<std::string> Server::take_over(const std::string& disk_name) {
  const std::lock_guard moving(move_mutex_);
  const auto found = begin_move(disk_name);
  if (!found) return found.error();
  Served& served = *found.value();
  const bool here = node_->engine().call([&] {
    const HybridDisk* attached = node_->host().find(disk_name);
    return attached != nullptr && !attached->fenced();
  });
  if (here) return std::string("this host has the disk already; nothing was done");
  const auto started = std::chrono::steady_clock::now();
  auto done = take_over(served);
  const auto took = std::chrono::steady_clock::now() - started;
  node_->engine().call([&] {
    served.standby = false;
    served.error = done ? "" : done.error().message;
  });
  forget_snapshot();
  if (!done) return done;
  return fmt::format("{}; served after {} ms", done.value(),
                     std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
}

/// What was served here before another host had it goes first.
Result<std::string> Server::take_over(Served& served) {
  const DiskConfig& disk = *served.config;
  const std::string& name = disk.options.name;
  stop_front_ends(served);
  const Result<void> retired = node_->engine().call([&] { return node_->host().retire(name); });
  if (!retired) return retired.error();
  node_->engine().call([&] {
    served.disk = served.tracing = nullptr;
    served.nbd.reset();
    served.vhost.reset();
  });
  const auto taken = node_->take_over(disk);
  if (!taken) return taken.error();
  const Result<void> served_again = serve_disk(served);
  if (!served_again) return served_again.error();
  node_->engine().call([&] { start_front_ends(served); });
  return taken.value();
}

Result<std::string> Server::resize(const std::string& disk_name, uint64_t size_bytes, bool force) {
  const DiskConfig* disk = config_.find(disk_name);
  const std::string done_text =
      fmt::format("has {} bytes now; write that into the configuration", size_bytes);
  if (disk != nullptr && disk->kind == DiskKind::local) {
    VolumeCommand command{VolumeCommand::Action::resize, {}, force};
    command.options.name = disk_name;
    command.options.size_bytes = size_bytes;
    const auto resized = change_volumes(command);
    if (!resized) return resized.error();
    forget_snapshot();
    return done_text;
  }
  const std::lock_guard moving(move_mutex_);
  const auto found = begin_move(disk_name);
  if (!found) return found.error();
  Served& served = *found.value();
  const Result<void> resized =
      node_->engine().call([&] { return node_->host().resize(disk_name, size_bytes, force); });
  // Also where it failed half way: the size that the disk has is what counts.
  const uint64_t now = node_->engine().call(
      [&] { return served.disk == nullptr ? uint64_t{0} : served.disk->info().size_bytes; });
  if (now != 0) workers_->set_size(disk_name, now);
  node_->engine().call([&] {
    if (served.vhost) served.vhost->notify_config_changed();
  });
  forget_snapshot();
  if (!resized) return resized.error();
  return done_text;
}

Result<std::string> Server::make_snapshot(const std::string& disk_name,
                                          const std::string& snapshot) {
  const std::lock_guard moving(move_mutex_);
  const auto found = begin_move(disk_name);
  if (!found) return found.error();
  const Result<void> made =
      node_->engine().call([&] { return node_->host().make_snapshot(disk_name, snapshot); });
  if (!made) return made.error();
  return fmt::format("snapshot {} was made", snapshot);
}

Result<std::string> Server::remove_snapshot(const std::string& disk_name,
                                            const std::string& snapshot) {
  const std::lock_guard moving(move_mutex_);
  const auto found = begin_move(disk_name);
  if (!found) return found.error();
  const Result<void> removed =
      node_->engine().call([&] { return node_->host().remove_snapshot(disk_name, snapshot); });
  if (!removed) return removed.error();
  return fmt::format("snapshot {} was removed", snapshot);
}

Result<std::vector<CloudSnapshot>> Server::list_snapshots(const std::string& disk_name) {
  const std::lock_guard moving(move_mutex_);
  const auto found = begin_move(disk_name);
  if (!found) return found.error();
  return node_->engine().call([&] { return node_->host().list_snapshots(disk_name); });
}

Result<std::string> Server::hand_over(const std::string& disk_name) {
  const std::lock_guard moving(move_mutex_);
  const auto found = begin_move(disk_name);
  if (!found) return found.error();
  Served& served = *found.value();
  const Result<void> handed =
      node_->engine().call([&] { return node_->host().hand_over(disk_name); });
  if (!handed) return handed.error();
  stop_front_ends(served);
  const Result<void> retired =
      node_->engine().call([&] { return node_->host().retire(disk_name); });
  if (!retired) log_warning("{}", retired.error().message);
  node_->engine().call([&] {
    served.disk = served.tracing = nullptr;
    served.nbd.reset();
    served.vhost.reset();
    served.standby = true;
    served.error = fmt::format("disk {}: was handed over; any host may adopt it", disk_name);
  });
  forget_snapshot();
  return std::string("handed over; adopt it on the other host with latte takeover");
}

}  // namespace latte
