#include "control/create.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "control/config_values.h"
#include "control/create_volume.h"
#include "control/node.h"
#include "control/open_cloud.h"

namespace latte {
namespace {

// The pool, opened, or made first if there is none; a pool that runs or is damaged is an error.
Result<std::unique_ptr<Node>> open_or_make(const Config& config, const Say& say) {
  auto node = Node::open(config, {});
  if (node) {
    say(fmt::format("pool {}: exists, left alone", config.pool.path));
    return node;
  }
  if (node.error().code != Errc::not_found) return node;
  const Result<void> made = make_pool(config.pool, say);
  if (!made) return made.error();
  return Node::open(config, {});
}

Result<void> make_local(Node& node, const DiskConfig& disk, const Say& say) {
  const std::string& name = disk.options.name;
  const auto space = node.volumes();
  if (!space) return Error{space.error().code, "disk " + name + ": " + space.error().message};
  const VolumeOptions options{name, disk.options.size_bytes, disk.thin};
  const Result<void> made = node.engine().call([&] { return space.value()->create(options); });
  if (made) {
    say(fmt::format("disk {}: created on the pool's device, {}, {}", name,
                    format_size(options.size_bytes), disk.thin ? "thin" : "thick"));
  } else if (made.error().code == Errc::exists) {
    say(fmt::format("disk {}: exists on the pool's device, left alone", name));
  } else {
    return Error{made.error().code, fmt::format("disk {}: {}", name, made.error().message)};
  }
  return {};
}

Result<void> make_disk(Node& node, const DiskConfig& disk, const Say& say) {
  if (disk.kind == DiskKind::local) return make_local(node, disk, say);
  const std::string& name = disk.options.name;
  const auto found = make_volume(disk);
  if (!found) return found.error();
  const bool fresh = found.value() == VolumeFound::made;
  const auto cloud = node.open_cloud(disk);
  if (!cloud) return cloud.error();
  EngineThread& engine = node.engine();
  if (fresh) {
    const Result<void> formatted = engine.call([&] {
      return Host::format_cloud(engine.reactor(), *cloud.value(), disk.options, CloudOptions{});
    });
    if (!formatted) return formatted;
  }
  const Result<void> adopted =
      engine.call([&] { return node.host().adopt_new(disk.options, *cloud.value()); });
  if (adopted) {
    say(fmt::format("disk {}: created in {}, {}, cloud log {}", name, cloud.value()->name(),
                    format_size(disk.options.size_bytes),
                    format_size(cloud.value()->log().info().size_bytes)));
    return {};
  }
  if (adopted.error().code == Errc::exists && !fresh) {
    say(fmt::format("disk {}: exists in {}, left alone", name, cloud.value()->name()));
    return {};
  }
  if (adopted.error().code == Errc::not_owner) {
    say(fmt::format("{}; left alone", adopted.error().message));
    return {};
  }
  return adopted;
}

// While a server has the pool, all that can be seen is whether every disk has a cloud volume; a
// local disk's is the server's to know.
bool all_volumes_exist(const Config& config) {
  return std::all_of(config.disks.begin(), config.disks.end(), [](const DiskConfig& disk) {
    return disk.kind == DiskKind::hybrid && cloud_volume_exists(disk.cloud);
  });
}

}  // namespace

Result<void> create_missing(const Config& config, const Say& say) {
  auto node = open_or_make(config, say);
  if (!node && node.error().code == Errc::busy && all_volumes_exist(config)) {
    say(fmt::format("pool {}: exists and is in use, left alone like the volumes of all {} disks",
                    config.pool.path, config.disks.size()));
    return {};
  }
  if (!node && node.error().code == Errc::busy && config.count(DiskKind::local) > 0)
    return Error{Errc::busy, node.error().message +
                                 ", or make a local disk's volume with `latte volume create`"};
  if (!node) return node.error();
  Error failed;
  for (const DiskConfig& disk : config.disks) {
    const Result<void> made = make_disk(*node.value(), disk, say);
    if (made) continue;
    failed.code = made.error().code;
    failed.message += (failed.message.empty() ? "" : "\n") + made.error().message;
  }
  if (failed.message.empty()) return {};
  return failed;
}

}  // namespace latte
