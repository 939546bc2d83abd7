#include "control/clone.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "control/config_values.h"
#include "control/engine_thread.h"
#include "control/progress_printer.h"
#include "device/memory_device.h"
#include "device/rbd_clone.h"
#include "device/rbd_cloud_volume.h"
#include "disk/host.h"
#include "disk/hybrid_disk.h"
#include "log/log_format.h"

namespace latte {
namespace {

// A pool for the time of applying a log; it gets no writes.
constexpr uint64_t kPoolBytes = 64u << 20;

// Images that are no disk yet, with a superblock in memory: what the engine does with them, nobody
// else sees.
class UnfinishedVolume final : public CloudVolume {
 public:
  UnfinishedVolume(CloudVolume& images, const SuperBytes& super) : images_(images), super_(super) {}

  const std::string& name() const override { return images_.name(); }
  BlockDevice& base() override { return images_.base(); }
  BlockDevice& log() override { return images_.log(); }
  Task<Result<SuperBytes>> read_super() override { co_return super_; }
  Task<Result<void>> swap_super(uint64_t, uint64_t, const SuperBytes& next) override {
    super_ = next;
    co_return Result<void>();
  }

 private:
  CloudVolume& images_;
  SuperBytes super_;
};

Task<Result<void>> open_pool(Reactor& reactor, BlockDevice& device, Host& host) {
  const auto formatted = co_await Host::format_pool(reactor, device, PoolOptions{});
  if (!formatted) co_return formatted;
  co_return co_await host.open_pool();
}

// Takes the images over as a lost host's disk, and applies all of the log.
Result<void> apply_log(EngineThread& engine, CloudVolume& cloud, const DiskOptions& disk) {
  MemoryDevice pool(kPoolBytes);
  auto host = engine.call([&] { return std::make_unique<Host>(engine.reactor(), pool); });
  Result<void> done = engine.call([&] { return open_pool(engine.reactor(), pool, *host); });
  if (done) done = engine.call([&] { return host->take_over(disk, cloud, nullptr); });
  if (done) {
    const auto attached = engine.call([&] { return host->attach(disk, cloud); });
    done = attached ? Result<void>() : Result<void>(attached.error());
  }
  if (done) {
    Progress progress;
    const ProgressPrinter printer("disk " + disk.name + ": applying the snapshot's log", progress);
    done = engine.call([&] { return host->drain(disk.name, &progress); });
  }
  const Result<void> stopped = engine.call([&] { return host->stop(); });
  engine.call([&] { host.reset(); });
  return done ? stopped : done;
}

// A disk of the configuration that is on RBD.
Result<const DiskConfig*> on_rbd(const Config& config, const std::string& name) {
  const DiskConfig* disk = config.find(name);
  if (disk == nullptr)
    return Error{Errc::not_found, fmt::format("disk {}: {} has no such disk", name, config.file)};
  if (disk->kind != DiskKind::hybrid || disk->cloud.kind != CloudKind::rbd)
    return Error{Errc::invalid,
                 fmt::format("disk {}: only disks on rbd: have snapshots and clones", name)};
  return disk;
}

Result<std::unique_ptr<CloudVolume>> open_images(EngineThread& engine, const DiskConfig& disk) {
  return open_rbd_volume(engine.reactor(), disk.cloud.rbd, RbdOptions{});
}

Result<void> make(EngineThread& engine, const DiskConfig& child, const SuperBytes& super,
                  uint64_t size_bytes) {
  {
    auto images = open_images(engine, child);
    if (!images) return images.error();
    UnfinishedVolume unfinished(*images.value(), super);
    DiskOptions options = child.options;
    options.size_bytes = size_bytes;
    options.cloud_limits = {};
    const Result<void> applied = apply_log(engine, unfinished, options);
    if (!applied) return applied;
    (void)engine.call([&] { return images.value()->release(); });
  }
  const Result<void> emptied = end_rbd_clone(child.cloud.rbd, child.cloud_log_bytes);
  if (!emptied) return emptied;
  auto images = open_images(engine, child);
  if (!images) return images.error();
  return engine.call([&] {
    return Host::format_cloud(engine.reactor(), *images.value(), child.options, CloudOptions{});
  });
}

}  // namespace

Result<std::string> clone_disk(const Config& config, const std::string& disk,
                               const std::string& snapshot, const std::string& clone) {
  const auto parent = on_rbd(config, disk);
  if (!parent) return parent.error();
  const auto child = on_rbd(config, clone);
  if (!child) return child.error();
  const uint64_t size_bytes = child.value()->options.size_bytes;
  // By value: it may outlive this call.
  const auto accept = [=](const SuperBytes& bytes) -> Result<void> {
    const auto parsed =
        log::parse_cloud_super(bytes, fmt::format("disk {}, snapshot {}", disk, snapshot));
    if (!parsed) return parsed.error();
    if (parsed.value().size_bytes == size_bytes) return {};
    return Error{Errc::invalid,
                 fmt::format("the snapshot {} of {} has {} bytes, the configuration says {}; "
                             "correct its size",
                             snapshot, disk, parsed.value().size_bytes, size_bytes)};
  };
  const auto super =
      begin_rbd_clone(parent.value()->cloud.rbd, snapshot, child.value()->cloud.rbd, accept);
  if (!super) return Error{super.error().code, "disk " + clone + ": " + super.error().message};
  auto engine = EngineThread::start({});
  if (!engine) return engine.error();
  const Result<void> made = make(*engine.value(), *child.value(), super.value(), size_bytes);
  engine.value()->stop();
  if (!made) return Error{made.error().code, "disk " + clone + ": " + made.error().message};
  return fmt::format("made from snapshot {} of {}, {}; latte create or latte takeover adopts it",
                     snapshot, disk, format_size(size_bytes));
}

Result<std::string> roll_back_disk(const Config& config, const std::string& disk,
                                   const std::string& snapshot) {
  const auto found = on_rbd(config, disk);
  if (!found) return found.error();
  auto engine = EngineThread::start({});
  if (!engine) return engine.error();
  EngineThread& thread = *engine.value();
  Result<std::string> rolled("");
  {
    auto images = open_images(thread, *found.value());
    if (!images) return Error{images.error().code, "disk " + disk + ": " + images.error().message};
    Progress progress;
    const ProgressPrinter printer("disk " + disk + ": rolling back", progress);
    rolled = thread.call([&] {
      return Host::roll_back(thread.reactor(), *images.value(), disk, snapshot, &progress);
    });
  }
  thread.stop();
  if (!rolled) return rolled;
  return fmt::format("rolled back to snapshot {} ({}); latte takeover or latte create adopts it",
                     snapshot, rolled.value());
}

}  // namespace latte
