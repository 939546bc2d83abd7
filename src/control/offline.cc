#include "control/offline.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "control/node.h"
#include "control/progress_printer.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

// Sizes and bytes that are not what they should be are what a check looks for; the rest (not there,
// in use, another version, I/O errors) keeps it from looking.
bool is_damage(const Error& error) {
  return error.code == Errc::damaged || error.code == Errc::invalid;
}

void add(CheckReport& report, const Error& error) {
  if (is_damage(error))
    report.findings.push_back(Finding{true, error.message});
  else
    report.not_run.push_back(error);
}

Result<void> drain_one(Node& node, const DiskConfig& disk) {
  const auto attached = node.attach(disk);
  if (!attached) return attached.error();
  Progress progress;
  const ProgressPrinter printer("disk " + disk.options.name + ": draining", progress);
  return node.engine().call([&] { return node.host().drain(disk.options.name, &progress); });
}

// The volume area, and whether every local disk has its volume.
void check_volumes(const Config& config, Node& node, CheckReport& report) {
  node.open_volumes(config.pool);
  const auto space = node.volumes();
  if (!space) {
    add(report, space.error());
    return;
  }
  for (const Finding& finding : space.value()->findings()) report.findings.push_back(finding);
  for (const DiskConfig& disk : config.disks)
    if (disk.kind == DiskKind::local && !space.value()->has(disk.options.name))
      report.findings.push_back(Finding{
          false, fmt::format("disk {}: there is no volume of this name; latte create makes it",
                             disk.options.name)});
}

}  // namespace

Result<void> check_disk(const Config& config, const std::string& disk_name) {
  if (config.find(disk_name) != nullptr) return {};
  std::string names;
  for (const DiskConfig& disk : config.disks)
    names += (names.empty() ? "" : ", ") + disk.options.name;
  return Error{Errc::not_found, fmt::format("disk {}: {} has no such disk; it has {}", disk_name,
                                            config.file, names)};
}

Result<void> check_hybrid(const Config& config, const std::string& disk_name) {
  const Result<void> known = check_disk(config, disk_name);
  if (!known || config.find(disk_name)->kind == DiskKind::hybrid) return known;
  return Error{Errc::invalid, fmt::format("disk {}: it is local: it has no cloud side", disk_name)};
}

bool CheckReport::damaged() const {
  return std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.damage; });
}

CheckReport check_offline(const Config& config) {
  CheckReport report;
  auto node = Node::open(config, {Node::Access::read_only, false});
  if (!node) {
    add(report, node.error());
    return report;
  }
  Node& opened = *node.value();
  const uint64_t size = opened.pool_size_bytes();
  if (size != config.pool.device_bytes())
    report.findings.push_back(Finding{
        true, fmt::format("pool {}: has {} bytes, the configuration says {}; restore the file, or "
                          "correct pool.size or pool.volumes",
                          config.pool.path, size, config.pool.device_bytes())});
  if (config.pool.volumes_bytes > 0) check_volumes(config, opened, report);
  std::vector<Host::CheckedDisk> disks;
  for (const DiskConfig& disk : config.disks) {
    if (disk.kind == DiskKind::local) continue;
    const auto cloud = opened.open_cloud(disk);
    if (cloud)
      disks.push_back(Host::CheckedDisk{disk.options, cloud.value()});
    else
      add(report, cloud.error());
  }
  Progress progress;
  const ProgressPrinter printer("checking", progress);
  auto found = opened.engine().call([&] { return opened.host().check(disks, &progress); });
  if (!found) {
    Error error = found.error();
    // The file is there: that no pool is in it is damage.
    if (error.code == Errc::not_found) error.code = Errc::damaged;
    add(report, error);
    return report;
  }
  for (Finding& finding : found.value()) report.findings.push_back(std::move(finding));
  return report;
}

Result<std::string> take_over_offline(const Config& config, const std::string& disk_name,
                                      const std::string& force_disk_id) {
  const Result<void> known = check_disk(config, disk_name);
  if (!known) return known.error();
  const DiskConfig* disk = config.find(disk_name);
  auto node = Node::open(config, {});
  if (!node) {
    Error error = node.error();
    if (error.code == Errc::busy)
      error.message += ": a disk is taken over while no server runs on the pool";
    return error;
  }
  return node.value()->take_over(*disk, force_disk_id);
}

Result<std::string> hand_over_offline(const Config& config, const std::string& disk_name) {
  auto node = Node::open(config, {});
  if (!node) return node.error();
  const DiskConfig* disk = config.find(disk_name);
  const auto attached = node.value()->attach(*disk);
  if (!attached) return attached.error();
  Host& host = node.value()->host();
  const Result<void> handed =
      node.value()->engine().call([&] { return host.hand_over(disk_name); });
  if (!handed) return handed.error();
  const Result<void> retired = node.value()->engine().call([&] { return host.retire(disk_name); });
  if (!retired) return retired.error();
  return std::string("handed over; adopt it on the other host with latte takeover");
}

Result<std::string> resize_offline(const Config& config, const std::string& disk_name,
                                   uint64_t size_bytes, bool force) {
  const DiskConfig* disk = config.find(disk_name);
  auto node = Node::open(config, {});
  if (!node) return node.error();
  Node& opened = *node.value();
  Result<void> resized;
  if (disk->kind == DiskKind::local) {
    const auto space = opened.volumes();
    if (!space) return space.error();
    resized =
        opened.engine().call([&] { return space.value()->resize(disk_name, size_bytes, force); });
  } else {
    const auto attached = opened.attach(*disk);
    if (!attached) return attached.error();
    resized =
        opened.engine().call([&] { return opened.host().resize(disk_name, size_bytes, force); });
  }
  if (!resized) return resized.error();
  return fmt::format("has {} bytes now; write that into the configuration", size_bytes);
}

Result<void> drain_offline(const Config& config, const std::string& disk_name) {
  auto node = Node::open(config, {});
  if (!node) return node.error();
  for (const DiskConfig& disk : config.disks) {
    if (!disk_name.empty() && disk.options.name != disk_name) continue;
    if (disk.kind == DiskKind::local) continue;
    const Result<void> drained = drain_one(*node.value(), disk);
    if (!drained) return drained;
  }
  return {};
}

}  // namespace latte
