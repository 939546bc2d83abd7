#include "control/server.h"

#include <fmt/format.h>

#include <utility>

#include "base/logging.h"
#include "control/config_values.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

// Logs how long a step of start or stop took.
class StepTimer {
 public:
  explicit StepTimer(std::string what) : what_(std::move(what)) {}
  ~StepTimer() {
    const auto took = std::chrono::steady_clock::now() - started_;
    log_info("{}: {} ms", what_,
             std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
  }

 private:
  const std::string what_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace

Result<std::unique_ptr<Server>> Server::start(const Config& config, Options options) {
  std::unique_ptr<Server> server(new Server(config, options));
  {
    const StepTimer timer("pool " + config.pool.path + ": opened");
    auto node = Node::open(config, {});
    if (!node) return node.error();
    server->node_ = node.take();
    auto workers = Workers::start(config, server->node_->engine());
    if (!workers) return workers.error();
    server->workers_ = workers.take();
  }
  // No element moves any more: the engine has pointers into them.
  server->disks_.resize(config.disks.size());
  for (size_t i = 0; i < config.disks.size(); ++i) {
    Served& served = server->disks_[i];
    served.config = &config.disks[i];
    const Result<void> done = server->serve_disk(served);
    if (done) continue;
    served.standby = options.standby && done.error().code == Errc::not_owner;
    served.error = done.error().message;
    if (served.standby)
      log_info("{}: standing by", served.error);
    else
      log_error("{}", served.error);
  }
  const Result<void> enough = server->judge();
  if (!enough) return enough.error();
  for (Served& served : server->disks_)
    server->node_->engine().call([&] { server->start_front_ends(served); });
  server->start_advisor();
  return server;
}

void Server::start_advisor() {
  std::vector<Advisor::Disk> disks;
  for (const DiskConfig& disk : config_.disks)
    if (disk.advisor) disks.push_back(Advisor::Disk{disk.options.name, *disk.advisor});
  if (disks.empty()) return;
  const auto read = [this](const std::string& name) {
    return node_->engine().call([&]() -> std::optional<Advisor::Reading> {
      HybridDisk* disk = node_->host().find(name);
      if (disk == nullptr) return std::nullopt;
      const CloudMeterStats stats = disk->cloud_meter().stats();
      return Advisor::Reading{stats.wanted_operations, stats.limited_ns,
                              stats.limits.operations.per_second};
    });
  };
  const auto apply = [this](const std::string& name, uint64_t iops) {
    node_->engine().call([&] {
      if (HybridDisk* disk = node_->host().find(name)) disk->cloud_meter().set_iops(iops);
    });
  };
  advisor_ = std::make_unique<Advisor>(std::move(disks), read, apply);
}

void Server::start_front_ends(Served& served) {
  const std::string& name = served.config->options.name;
  if (served.nbd) {
    served.nbd->start();
    log_info("disk {}: served at {}", name, served.nbd->uri(name));
  }
  if (served.vhost) {
    served.vhost->start();
    log_info("disk {}: vhost-user-blk at {}", name, served.vhost->address().to_string());
  }
}

void Server::stop_front_ends(Served& served) {
  if (served.nbd) node_->engine().call([&] { return served.nbd->stop(); });
  if (served.vhost) node_->engine().call([&] { return served.vhost->stop(); });
}

Result<void> Server::judge() const {
  size_t failed = 0;
  for (const Served& served : disks_) failed += served.error.empty() || served.standby ? 0 : 1;
  if (failed == 0 || (options_.keep_going && failed < disks_.size())) return {};
  return Error{Errc::invalid,
               fmt::format("{} of {} disks can't be served (see above){}", failed, disks_.size(),
                           failed < disks_.size() ? "; --keep-going serves the others" : "")};
}

Result<void> Server::serve_disk(Served& served) {
  const std::string& name = served.config->options.name;
  {
    const StepTimer timer("disk " + name + ": attached");
    const Result<void> attached = attach(served);
    if (!attached) return attached;
  }
  const Result<void> listening = listen(served);
  if (listening) return {};
  return Error{listening.error().code, fmt::format("disk {}: {}", name, listening.error().message)};
}

Result<void> Server::attach(Served& served) {
  const DiskConfig& disk = *served.config;
  if (disk.kind == DiskKind::local) {
    const auto volume = node_->attach_local(disk);
    if (!volume) return volume.error();
    served.volume = volume.value();
    offer(served, *served.volume);
    return {};
  }
  const auto attached = node_->attach(disk);
  if (!attached) return attached.error();
  offer(served, *attached.value());
  return {};
}

void Server::offer(Served& served, BlockDevice& disk) {
  auto& engine = node_->engine();
  tracing_.push_back(std::make_unique<TracingDevice>(engine.reactor(), disk));
  engine.call([&] {
    served.tracing = tracing_.back().get();
    served.tracing->trace_into(served.trace_ring);
    served.disk = served.tracing;
  });
}

Result<void> Server::listen(Served& served) {
  if (served.config->nbd) {
    const Result<void> listening = listen_nbd(served);
    if (!listening) return listening;
  }
  return served.config->vhost ? listen_vhost(served) : Result<void>();
}

Result<void> Server::listen_vhost(Served& served) {
  const DiskConfig& disk = *served.config;
  auto& engine = node_->engine();
  std::vector<VhostLane> lanes;
  {
    const std::lock_guard lock(snapshot_mutex_);  // a disk may come while others are counted
    lanes = workers_->lanes_of(disk.options.name, *served.disk, served.volume);
  }
  auto vhost = engine.call([&] {
    return VhostUserServer::listen(engine.reactor(), *disk.vhost, disk.vhost_options,
                                   disk.options.name, *served.disk, std::move(lanes));
  });
  if (!vhost) return vhost.error();
  engine.call([&] { served.vhost = vhost.take(); });
  return {};
}

Result<void> Server::listen_nbd(Served& served) {
  const DiskConfig& disk = *served.config;
  auto& engine = node_->engine();
  auto nbd = engine.call(
      [&] { return NbdServer::listen(engine.reactor(), *disk.nbd, NbdServerOptions{}); });
  if (!nbd) return nbd.error();
  const Result<void> added = engine.call([&] {
    return nbd.value()->add_export(
        disk.options.name,
        fmt::format("Latte disk, {}", format_size(served.disk->info().size_bytes)), *served.disk);
  });
  if (!added) return added;
  engine.call([&] { served.nbd = nbd.take(); });
  return {};
}

Result<void> Server::stop() {
  if (stopped_ || !node_) return {};
  stopped_ = true;
  const StepTimer timer("stopped");
  stopping_ = true;
  {
    const std::lock_guard lock(snapshot_mutex_);
    advisor_.reset();
  }
  // Those under way see stopping_ or end; none begins after.
  const std::lock_guard moving(move_mutex_);
  for (Served& served : disks_) stop_front_ends(served);
  return node_->stop_host();
}

Server::~Server() {
  (void)stop();
  if (!node_) return;
  // Clients that were cut off may still wait for a device; the engine's end ends them.
  if (workers_) workers_->stop();
  node_->engine().stop();
  disks_.clear();
}

StatusSnapshot Server::collect() {
  StatusSnapshot snapshot = node_->engine().call([&] {
    StatusSnapshot result;
    result.host = node_->host().stats();
    const WriteBuffer& buffer = node_->write_buffer();
    result.write_buffer = WriteBufferFacts{buffer.size_bytes(), buffer.used_bytes()};
    if (const auto volumes = node_->volumes()) {
      result.volumes = VolumesFacts{volumes.value()->size_bytes(), volumes.value()->free_bytes()};
      for (DiskStats& stats : volumes.value()->stats())
        result.host.disks.push_back(std::move(stats));
    }
    for (const Served& served : disks_) {
      DiskFacts& facts = result.disks.emplace_back();
      facts.clients = served.nbd ? served.nbd->client_count() : 0;
      if (served.nbd) facts.nbd_uri = served.nbd->uri(served.config->options.name);
      if (served.vhost) facts.vhost = served.vhost->address().to_string();
      facts.vhost_connected = served.vhost && served.vhost->connected();
      facts.options = served.config->options;
      facts.kind = served.config->kind;
      facts.thin = served.config->thin;
      // A volume's own size counts, whatever the configuration made it with.
      if (served.disk != nullptr) facts.options.size_bytes = served.disk->info().size_bytes;
      if (facts.kind == DiskKind::hybrid) {
        facts.cloud = served.config->cloud.to_string();
        facts.cloud_log_bytes = served.config->cloud_log_bytes;
      }
      facts.error = served.error;
      facts.standby = served.standby;
    }
    return result;
  });
  workers_->add_requests(snapshot.host);
  snapshot.prices = config_.prices;
  for (DiskFacts& facts : snapshot.disks)
    if (advisor_) facts.advisor = advisor_->facts(facts.options.name);
  snapshot.uptime_s = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - started_)
          .count());
  return snapshot;
}

void Server::forget_snapshot() {
  std::lock_guard lock(snapshot_mutex_);
  snapshot_taken_ = false;
}

StatusSnapshot Server::snapshot() {
  std::lock_guard lock(snapshot_mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (!snapshot_taken_ || now - snapshot_time_ > std::chrono::milliseconds(kSnapshotAgeMs)) {
    snapshot_ = collect();
    snapshot_time_ = now;
    snapshot_taken_ = true;
  }
  return snapshot_;
}

Result<std::vector<VolumeFacts>> Server::change_volumes(const VolumeCommand& command) {
  if (stopping_) return Error{Errc::busy, "the server is stopping; try again when it has ended"};
  auto done = run_volume_command(*node_, command);
  if (!done || command.action != VolumeCommand::Action::resize) return done;
  node_->engine().call([&] {
    for (Served& served : disks_)
      if (served.config->kind == DiskKind::local && served.vhost &&
          served.config->options.name == command.options.name)
        served.vhost->notify_config_changed();
  });
  return done;
}

Result<void> Server::drain(const std::string& disk_name, Progress* progress) {
  const DiskConfig* disk = config_.find(disk_name);
  if (disk == nullptr)
    return Error{Errc::not_found,
                 fmt::format("disk {}: the server's configuration has no such disk", disk_name)};
  if (disk->kind == DiskKind::local)
    return Error{Errc::invalid,
                 fmt::format("disk {}: it is local: it has no cloud side to drain to", disk_name)};
  {
    std::lock_guard lock(drain_mutex_);
    if (!draining_.insert(disk_name).second)
      return Error{
          Errc::busy,
          fmt::format("disk {}: a drain is under way already; wait for its end", disk_name)};
  }
  Result<void> done =
      Error{Errc::busy, "the server is stopping; latte drain again when it has ended"};
  if (!stopping_)
    done = node_->engine().call([&] { return node_->host().drain(disk_name, progress); });
  std::lock_guard lock(drain_mutex_);
  draining_.erase(disk_name);
  return done;
}

}  // namespace latte
