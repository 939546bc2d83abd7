// Host::check: offline verification. Reads every byte that has a checksum, and the base once
// through, so that a device's bad spots show. Writes nothing.
#include <fmt/format.h>

#include <algorithm>

#include "base/buffer.h"
#include "base/crc32c.h"
#include "disk/cloud_image.h"
#include "disk/host.h"
#include "disk/pool.h"
#include "log/recovery.h"

namespace latte {
namespace {

constexpr uint64_t kReadBytes = 1u << 20;
/// Findings of one kind are listed up to here, then counted.
constexpr size_t kMaxListed = 20;

struct CheckedEntry {
  log::Entry entry;
  log::BlockAddress address = 0;
  std::vector<uint32_t> crcs;
};

class CollectVisitor final : public log::StreamVisitor {
 public:
  void on_entry(const log::Entry& entry, log::BlockAddress address, std::span<const uint32_t> crcs,
                log::LogPosition, int64_t) override {
    if (!crcs.empty()) entries.push_back(CheckedEntry{entry, address, {crcs.begin(), crcs.end()}});
  }
  void on_damage(log::LogPosition, const std::string& what) override { damage.push_back(what); }

  std::vector<CheckedEntry> entries;
  std::vector<std::string> damage;
};

class Checker {
 public:
  Checker(std::vector<Finding>& findings, Progress* progress)
      : findings_(findings), progress_(progress) {}

  void damage(std::string text) { findings_.push_back(Finding{true, std::move(text)}); }
  void note(std::string text) { findings_.push_back(Finding{false, std::move(text)}); }
  void expect(uint64_t bytes) {
    if (progress_ != nullptr) progress_->total_bytes += bytes;
  }
  void did(uint64_t bytes) {
    if (progress_ != nullptr) progress_->done_bytes += bytes;
  }

  /// Reads the data of all entries and compares CRCs.
  Task<void> verify(log::SegmentSpace& space, const std::vector<CheckedEntry>& entries,
                    const std::string& where) {
    size_t bad = 0;
    for (const CheckedEntry& item : entries) expect(item.entry.count * kBlockBytes);
    for (const CheckedEntry& item : entries) {
      Buffer data(item.entry.count * kBlockBytes);
      const IoStatus status = co_await log::read_blocks(space, item.address, data.span());
      did(data.size());
      for (uint64_t i = 0; i < item.entry.count; ++i) {
        const Lba lba(item.entry.lba + i);
        const auto block = data.span().subspan(i * kBlockBytes, kBlockBytes);
        const bool good = status == IoStatus::ok &&
                          log::bound_crc(crc32c(block), lba, Seq(item.entry.seq)) == item.crcs[i];
        if (good || ++bad > kMaxListed) continue;
        damage(fmt::format("{}: block {} (write {}, at {}): {}", where, lba.value, item.entry.seq,
                           space.device_offset(item.address + i),
                           status == IoStatus::ok ? "checksum mismatch" : to_string(status)));
      }
    }
    if (bad > kMaxListed) damage(fmt::format("{}: {} bad blocks in all", where, bad));
  }

  Task<void> read_through(BlockDevice& device, const std::string& where) {
    const uint64_t size = device.info().size_bytes;
    expect(size);
    size_t bad = 0;
    Buffer data(kReadBytes);
    for (uint64_t at = 0; at < size;) {
      Extent extent;
      const size_t found = device.extents(at, size - at, std::span(&extent, 1));
      if (found == 1 && extent.hole && extent.length > 0) {
        at += extent.length;
        did(extent.length);
        continue;
      }
      const uint64_t length = std::min<uint64_t>(kReadBytes, size - at);
      const IoStatus status = co_await device.read(at, data.span().first(length));
      if (status != IoStatus::ok && ++bad <= kMaxListed)
        damage(fmt::format("{}: reading at {}: {}", where, at, to_string(status)));
      at += length;
      did(length);
    }
    if (bad > kMaxListed) damage(fmt::format("{}: {} bad places in all", where, bad));
  }

 private:
  std::vector<Finding>& findings_;
  Progress* progress_;
};

}  // namespace

/// Returns what the cloud log knows of the pool.
Task<log::PoolMark> Host::check_cloud(CheckedDisk& item, const log::CloudSuper& super,
                                      std::vector<Finding>& findings, Progress* progress) {
  Checker checker(findings, progress);
  const std::string where = fmt::format("disk {}: {}", item.disk.name, item.cloud->name());
  auto opened = co_await log::SegmentSpace::open(reactor_, item.cloud->log(),
                                                 log::SpaceKind::cloud_log, true);
  if (!opened) {
    checker.damage(where + ": cloud log: " + opened.error().message);
    co_return log::PoolMark{};
  }
  auto space = opened.take();
  const CloudImage image = co_await load_cloud_image(reactor_, *space, super.disk_id, true);
  if (image.unreadable > 0)
    checker.damage(
        fmt::format("{}: cloud log: {} segments can't be read", where, image.unreadable));
  for (const std::string& text : image.damage) checker.damage(where + ": " + text);
  std::vector<CheckedEntry> entries;
  uint64_t lost = 0;
  for (const CloudImage::Item& entry : image.items) {
    if (!range_within(entry.entry.lba, entry.entry.count, log::extent_of(super) / kBlockBytes) &&
        entry.entry.kind != log::EntryKind::cut && entry.entry.kind != log::EntryKind::empty)
      checker.damage(where + ": cloud log: an entry lies beyond the disk's end");
    if (entry.entry.kind == log::EntryKind::lost) lost += entry.entry.count;
    if (entry.entry.kind == log::EntryKind::data)
      entries.push_back(CheckedEntry{entry.entry, entry.address, entry.crcs});
  }
  if (lost > 0)
    checker.note(
        fmt::format("{}: {} blocks were noted as lost (written again since, or not)", where, lost));
  co_await checker.verify(*space, entries, where + ": cloud log");
  co_await checker.read_through(item.cloud->base(), where + ": base");
  if (image.highest > image.contiguous)
    checker.note(
        fmt::format("{}: writes up to {} are complete in the cloud; {} later ones wait for "
                    "theirs in the pool",
                    where, image.contiguous.value, image.highest - image.contiguous));
  co_return space->pool_mark();
}

Task<void> Host::check_local(CheckedDisk& item, const log::CloudSuper& super, log::PoolMark mark,
                             std::vector<Finding>& findings, Progress* progress) {
  Checker checker(findings, progress);
  log::SegmentSpace& space = pool_->space();
  const log::StreamSlot* slot = space.find_stream(super.disk_id);
  const std::string where =
      fmt::format("disk {}: pool {}", item.disk.name, pool_device_.info().name);
  if (slot == nullptr || super.owner_pool_id != space.id() || slot->epoch != super.epoch) {
    checker.note(fmt::format("disk {}: not owned by this host; its pool part was not checked",
                             item.disk.name));
    co_return;
  }
  CollectVisitor visitor;
  log::StreamRecoveryOptions options{super.disk_id, slot->epoch, slot->tail_order,
                                     reactor_.boot_id()};
  if (mark.epoch == slot->epoch) options.flushed = mark.end;
  const log::StreamRecovery stream = co_await log::recover_stream(space, options, found_, visitor);
  if (stream.unreadable > 0)
    checker.damage(fmt::format("{}: {} segments can't be read", where, stream.unreadable));
  for (const std::string& text : visitor.damage) checker.damage(where + ": " + text);
  co_await checker.verify(space, visitor.entries, where);
}

Task<Result<std::vector<Finding>>> Host::check(std::vector<CheckedDisk> disks, Progress* progress) {
  if (pool_ == nullptr) {
    auto opened = co_await open_pool();
    if (!opened) co_return opened.error();
  }
  std::vector<Finding> findings;
  for (CheckedDisk& item : disks) {
    const auto super = co_await read_super(*item.cloud, item.disk);
    if (!super) {
      findings.push_back(Finding{true, super.error().message});
      continue;
    }
    const log::PoolMark mark = co_await check_cloud(item, super.value(), findings, progress);
    co_await check_local(item, super.value(), mark, findings, progress);
  }
  co_return findings;
}

}  // namespace latte
