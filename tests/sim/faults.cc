// Scenario: what is broken meanwhile, and from when on a promise is asked for again.
#include <algorithm>

#include "log_marks.h"
#include "scenario.h"

namespace latte::simtest {

/// The lag promise is not asked for before `until_ns`; behind that a lease may have to be claimed
/// again, or a lost request waited for.
void Scenario::mark_unhealthy(DiskSim& disk, TimeNs until_ns) {
  if (until_ns != sim::kNever) until_ns += disk.cloud.options().lease_ns;
  disk.healthy_since_ns = std::max(disk.healthy_since_ns, until_ns);
}

/// What lasted until mended is over.
void Scenario::mark_mended(DiskSim& disk) {
  if (disk.healthy_since_ns == sim::kNever)
    disk.healthy_since_ns =
        std::max(world_.now(), disk.cloud.outage_until_ns()) + disk.cloud.options().lease_ns;
}

/// I/O errors and refusals are fair from now on for all disks that the machine's pool holds.
void Scenario::mark_damaged(Machine& machine) {
  machine.suspect = true;
  for (auto& session : machine.sessions())
    if (session->disk.session == session.get()) session->disk.damaged = true;
}

/// Connections break now and then, or all at once when the service restarts.
void Scenario::break_sessions(DiskSim& disk) {
  if (random_.chance(1, 2)) {
    disk.cloud.restart();
    mark_unhealthy(disk, world_.now());
    return;
  }
  disk.cloud.faults().breaks = static_cast<uint32_t>(random_.between(2'000, 100'000));
  world_.trace("{}: sessions break, {} in a million requests", disk.cloud.options().name,
               disk.cloud.faults().breaks);
  mark_unhealthy(disk, sim::kNever);
}

void Scenario::break_cloud() {
  DiskSim& disk = *run_.disks[random_.below(run_.disks.size())];
  if (disk.cloud.leased() && random_.chance(1, 2)) return break_sessions(disk);
  switch (random_.below(4)) {
    case 0:
    case 1: {
      if (disk.cloud.out()) return;
      const TimeNs until =
          world_.now() + static_cast<TimeNs>(random_.between(50, 15'000)) * kMillisecond;
      disk.cloud.begin_outage(random_.chance(1, 2) ? sim::Outage::hang : sim::Outage::errors,
                              until);
      mark_unhealthy(disk, until);
      break;
    }
    case 2: {
      disk.cloud.faults().error = static_cast<uint32_t>(random_.between(1'000, 100'000));
      if (random_.chance(1, 2)) disk.cloud.faults().slow = 20'000;
      if (disk.cloud.leased()) disk.cloud.faults().breaks = disk.cloud.faults().error;
      world_.trace("{}: transient errors, {} in a million", disk.cloud.options().name,
                   disk.cloud.faults().error);
      mark_unhealthy(disk, sim::kNever);
      break;
    }
    default: {
      sim::LatencyModel slow = disk.latency;
      slow.base_ns *= 20;
      // What a lease relies on: a write lands within half its duration.
      slow.bytes_per_second = disk.cloud.leased() ? 10e6 : 1e6;
      disk.cloud.set_latency(slow);
      world_.trace("{}: slow", disk.cloud.options().name);
      mark_unhealthy(disk, sim::kNever);
      break;
    }
  }
}

void Scenario::break_drive() {
  Machine& machine = pick_running();
  sim::DriveFaults& faults = machine.drive().faults();
  const auto chance = static_cast<uint32_t>(random_.between(500, 30'000));
  switch (random_.below(9)) {
    case 0:
      faults.read_error = chance;
      break;
    case 1:
      faults.write_error = chance;
      break;
    case 2:
      faults.flush_error = chance;
      break;
    case 3:
      faults.hang = chance;
      break;
    case 4:
      faults.lost_write = chance;
      break;
    case 5:
      faults.misdirected_write = chance;
      break;
    case 6:
      faults.corrupt_write = chance;
      break;
    case 7:
      faults.read_flip = chance;
      break;
    default:
      machine.drive().die();
      break;
  }
  world_.trace(
      "{}: drive faults: read {} write {} flush {} hang {} lost {} misdirected {} corrupt "
      "{} flip {} dead {}",
      machine.name(), faults.read_error, faults.write_error, faults.flush_error, faults.hang,
      faults.lost_write, faults.misdirected_write, faults.corrupt_write, faults.read_flip,
      machine.drive().dead());
  mark_damaged(machine);
}

/// Flips bits of bytes that have long been durable: never behind a log's last durable mark, which
/// no format can tell from a torn write (log_marks.h).
void Scenario::break_bytes() {
  constexpr uint64_t kAge = 2;
  if (random_.chance(1, 6)) {
    DiskSim& disk = *run_.disks[random_.below(run_.disks.size())];
    sim::PageStore& store = disk.cloud.log_store();
    const LogMarks marks(store);
    const auto noticed = [&](uint64_t at) { return marks.covered(at); };
    const uint64_t page = store.pick_durable_page(random_, kAge, noticed);
    if (page == sim::PageStore::kNoPage) return;
    store.corrupt(page, random_);
    disk.damaged = disk.cloud_damaged = true;
    world_.trace("{}: cloud log corrupted at offset {}", disk.options.name, page * kBlockBytes);
    return;
  }
  Machine& machine = pick_running();
  const uint64_t count = random_.between(1, 6);
  sim::SimDrive& drive = machine.drive();
  LogMarks marks(drive.store());
  const auto noticed = [&](uint64_t at) { return marks.covered(at); };
  bool any = false;
  for (uint64_t i = 0; i < count; ++i) {
    if (!drive.corrupt_page(kAge, nullptr, noticed)) break;
    marks.damaged(drive.damages().back().offset / kBlockBytes);
    any = true;
  }
  if (any) mark_damaged(machine);
}

/// Ends faults: each with even odds, or all.
void Scenario::mend(bool all) {
  for (const auto& disk : run_.disks) {
    sim::SimCloud& cloud = disk->cloud;
    if (all && cloud.out()) {
      cloud.end_outage();
      mark_unhealthy(*disk, world_.now());
    }
    if (!all && random_.chance(1, 2)) continue;
    cloud.faults() = {};
    cloud.set_latency(disk->latency);
    mark_mended(*disk);
  }
  for (const auto& machine : run_.machines)
    if (machine->has_drive() && (all || random_.chance(1, 2))) machine->drive().faults() = {};
}

}  // namespace latte::simtest
