// Scenario: what happens between phases of work.
#include <algorithm>

#include "client.h"
#include "scenario.h"

namespace latte::simtest {

namespace {
constexpr TimeNs kPatienceNs = 300 * kSecond;

Task<void> stop_host(Machine* machine, bool* clean, bool* done) {
  const Result<void> stopped = co_await machine->host().stop();
  const bool closed = co_await machine->close_buffer();
  for (const auto& session : machine->sessions()) (void)co_await session->volume.release();
  *clean = stopped.ok() && closed;
  *done = true;
}

Task<void> hand_over_disk(Host* host, std::string name, std::optional<Error>* error, bool* done) {
  auto handed = co_await host->hand_over(name);
  if (!handed) *error = handed.error();
  *done = true;
}

Task<void> retire_disk(Host* host, std::string name, bool* done) {
  (void)co_await host->retire(name);
  *done = true;
}

Task<void> drain_disk(Host* host, std::string name, std::optional<Error>* error, bool* done) {
  Progress progress;
  const Result<void> result = co_await host->drain(name, &progress);
  if (!result.ok()) *error = result.error();
  *done = true;
}

struct OfflineCheck {
  sim::SimReactor reactor;
  std::vector<std::unique_ptr<sim::SimCloudVolume>> volumes;
  std::unique_ptr<Host> host;
  std::optional<Error> error;
  std::vector<Finding> findings;
  bool done = false;
  explicit OfflineCheck(sim::World& world) : reactor(world, "check", kSecond) {}
};

Task<void> run_check(OfflineCheck* check, std::vector<Host::CheckedDisk> disks) {
  const Result<void> opened = co_await check->host->open_pool();
  if (opened.ok()) {
    Progress progress;
    Result<std::vector<Finding>> found = co_await check->host->check(std::move(disks), &progress);
    if (found.ok())
      check->findings = found.take();
    else
      check->error = found.error();
  } else {
    check->error = opened.error();
  }
  check->done = true;
}
}  // namespace

void Scenario::event() {
  const uint64_t dice = random_.below(100);
  if (run_.may_break_cloud && random_.chance(1, 3)) break_cloud();
  if (run_.may_damage && random_.chance(1, 4)) {
    if (random_.chance(1, 2))
      break_drive();
    else
      break_bytes();
    if (random_.chance(1, 2)) work(30);
    if (run_.failed() || !any_running()) return;
  }
  const Spared& spared = run_.spared;
  if (dice < 25) {
    crash(false);
  } else if (dice < 50) {
    crash(!spared.power);
  } else if (dice < 65) {
    if (!spared.takeover) lose_host();
  } else if (dice < 75) {
    if (!spared.zombie && !spared.takeover) take_over_live();
  } else if (dice < 83) {
    if (!spared.stop) stop_cleanly();
  } else if (dice < 90) {
    if (!spared.drain) drain();
  } else if (dice < 95) {
    retire_zombies();
  } else if (dice < 98) {
    if (!spared.handover && !spared.takeover) hand_over();
  } else {
    (void)world_.run_for(static_cast<TimeNs>(random_.below(30)) * kSecond);
  }
}

/// The process, or the whole machine, dies and comes back.
void Scenario::crash(bool power) {
  Machine& machine = pick_running();
  kill(machine, power, power ? Loss::power : Loss::process);
  bring_up(machine, owned(machine));
}

/// `target` becomes the owner of `disks`. Starts its process if it is down.
void Scenario::take_over(Machine& target, std::vector<DiskSim*> disks) {
  if (disks.empty()) return;
  if (target.running()) {
    // A disk can't be taken over where it is still served, even as a zombie.
    const bool serves = std::any_of(disks.begin(), disks.end(), [&](DiskSim* disk) {
      return target.find_session(*disk) != nullptr;
    });
    if (serves) kill(target, false, Loss::process);
  }
  std::vector<BootItem> items;
  if (!target.running()) {
    if (!target.has_drive() || target.suspect)
      target.replace_drive(run_.drive_options(target), run_.pool);
    items = owned(target);
    std::erase_if(items, [&](const BootItem& item) {
      return std::find(disks.begin(), disks.end(), item.disk) != disks.end();
    });
  }
  for (DiskSim* disk : disks) {
    disk->owner = &target;
    items.insert(items.begin(), BootItem{disk, false, true});
  }
  bring_up(target, std::move(items));
}

/// A machine is gone for good; another, with a fresh pool or an old one, serves its disks.
void Scenario::lose_host() {
  Machine& machine = pick_running();
  std::vector<DiskSim*> disks;
  for (auto& session : machine.sessions())
    if (session->disk.session == session.get()) disks.push_back(&session->disk);
  kill(machine, random_.chance(1, 2) && !run_.spared.power, Loss::host);
  std::vector<Machine*> others;
  for (const auto& other : run_.machines)
    if (other.get() != &machine) others.push_back(other.get());
  Machine& target = *others[random_.below(others.size())];
  if (!target.running() && random_.chance(1, 3) && owned(target).empty())
    target.replace_drive(run_.drive_options(target), run_.pool);
  take_over(target, disks);
}

/// One disk is taken over while its host lives on, or is frozen and comes back: a zombie.
void Scenario::take_over_live() {
  Machine& machine = pick_running();
  std::vector<DiskSim*> disks;
  for (auto& session : machine.sessions())
    if (session->disk.session == session.get()) disks.push_back(&session->disk);
  if (disks.empty()) return;
  DiskSim& disk = *disks[random_.below(disks.size())];
  Session& session = *disk.session;
  const bool frozen = disks.size() == 1 && random_.chance(1, 2);
  Machine* target = nullptr;
  for (const auto& other : run_.machines)
    if (other.get() != &machine && (target == nullptr || random_.chance(1, 2)))
      target = other.get();
  world_.trace("{}: taken over from {}, which lives on{}", disk.options.name, machine.name(),
               frozen ? ", frozen" : "");
  session.zombie = true;
  session.work.notify_all();
  if (frozen) machine.reactor().set_paused(true);
  note_loss(disk, Loss::host, world_.now());
  take_over(*target, {&disk});
  if (frozen && machine.running()) machine.reactor().set_paused(false);
}

/// A disk is given up in the middle of its clients' work and adopted by another machine, or by this
/// one after a restart: nothing acknowledged is missing.
void Scenario::hand_over() {
  Machine& machine = pick_running();
  std::vector<Session*> own;
  for (auto& session : machine.sessions())
    if (session->disk.session == session.get()) own.push_back(session.get());
  if (own.empty()) return;
  Session& session = *own[random_.below(own.size())];
  DiskSim& disk = session.disk;
  session.handed_over = true;
  bool done = false;
  std::optional<Error> error;
  std::string name = disk.options.name;
  machine.spawn(hand_over_disk(&machine.host(), std::move(name), &error, &done));
  if (!wait("hand-over", kPatienceNs, [&] { return done; })) return;
  std::string state = machine.host().find(disk.options.name)->stats().state;
  world_.trace("{}: handed over by {}{}, {}", disk.options.name, machine.name(),
               error.has_value() ? ": " + error->message : "", state);
  if (error.has_value() && !disk.damaged && !run_.may_break_cloud)
    run_.fail("4 (hand-over)", "{}: {}", disk.options.name, error->message);
  // Undecided: the cloud does not tell whether it was given up. It is waited for, or another
  // machine takes the disk before.
  if (state == "handing-over" && random_.chance(1, 2)) {
    const auto now_in = [&] { return machine.host().find(disk.options.name)->stats().state; };
    if (!wait("hand-over's end", kPatienceNs, [&] { return now_in() != "handing-over"; })) return;
    state = now_in();
  }
  const bool gone = state == "fenced" || state == "failed" || state == "handing-over";
  session.handed_over = gone;
  if (!gone || run_.failed()) return;
  session.zombie = true;
  session.work.notify_all();
  // Undecided, it may still go on here until the other machine has it: as any live take-over.
  // Failed, it was not given up, and what only this host has is lost to others.
  note_loss(disk, state == "fenced" ? Loss::process : Loss::host, world_.now());
  if (state == "fenced" && random_.chance(1, 2)) {
    done = false;
    machine.spawn(retire_disk(&machine.host(), disk.options.name, &done));
    if (!wait("retirement", kPatienceNs, [&] { return done; })) return;
  }
  if (state == "fenced" && !disk.kept.empty() && random_.chance(1, 2)) roll_back(disk);
  if (run_.failed()) return;
  take_over(*run_.machines[random_.below(run_.machines.size())], {&disk});
}

/// A fenced host notices, and its clients get errors.
void Scenario::retire(Machine& machine) {
  for (auto& session : machine.sessions()) {
    if (!session->zombie || session->clients == 0 || run_.failed()) continue;
    if (session->disk.damaged) continue;
    // Losing its data is no news for a zombie; that it goes on answering would be.
    (void)wait("a fenced host notices", 60 * kSecond, [&] { return session->saw_fenced; });
  }
}

void Scenario::retire_zombies() {
  mend(true);
  for (const auto& machine : run_.machines) {
    if (!machine->running() || run_.failed()) continue;
    retire(*machine);
    if (run_.failed()) return;
    const bool owns =
        std::any_of(machine->sessions().begin(), machine->sessions().end(),
                    [](const auto& session) { return session->disk.session == session.get(); });
    if (!owns) kill(*machine, false, Loss::process);
  }
}

/// A clean stop, even of the power afterwards, loses nothing that was acknowledged.
void Scenario::stop_cleanly() {
  Machine& machine = pick_running();
  for (auto& session : machine.sessions()) {
    session->stopping = true;
    session->work.notify_all();
  }
  bool done = false;
  bool clean = false;
  machine.spawn(stop_host(&machine, &clean, &done));
  if (!wait("clean stop", kPatienceNs, [&] { return done; })) return;
  if (!clean && !machine.suspect &&
      std::none_of(run_.disks.begin(), run_.disks.end(),
                   [](const auto& disk) { return disk->damaged; }))
    run_.fail("1 (clean stop)", "{}: nothing is broken, but it could not flush", machine.name());
  kill(machine, true, clean ? Loss::process : Loss::power);
  check_offline(machine);
  if (!run_.failed()) bring_up(machine, owned(machine));
}

void Scenario::check_offline(Machine& machine) {
  OfflineCheck check(world_);
  check.reactor.set_boot_id(0);  // the power was cut: only what was flushed counts
  std::vector<Host::CheckedDisk> disks;
  bool damaged = false;
  for (const BootItem& item : owned(machine)) {
    check.volumes.push_back(std::make_unique<sim::SimCloudVolume>(item.disk->cloud, check.reactor));
    disks.push_back(Host::CheckedDisk{item.disk->options, check.volumes.back().get()});
    damaged |= item.disk->damaged;
  }
  if (disks.empty()) return;
  for (const Host::CheckedDisk& checked : disks)
    for (const auto& disk : run_.disks)
      if (disk->options.name == checked.disk.name &&
          (disk->cloud.faults().error != 0 || disk->cloud.out()))
        return;
  machine.drive().connect(check.reactor);
  check.host = std::make_unique<Host>(check.reactor, machine.drive());
  check.reactor.spawn(run_check(&check, std::move(disks)));
  const bool ended = wait("offline check", kPatienceNs, [&] { return check.done; });
  machine.drive().process_death();
  for (auto& volume : check.volumes) volume->process_death();
  check.reactor.destroy_tasks();
  check.host.reset();
  if (!ended || damaged) return;
  if (check.error.has_value() && check.error->code != Errc::io)
    run_.fail("6 (check)", "check could not run: {}", check.error->message);
  for (const Finding& finding : check.findings)
    if (finding.damage) run_.fail("6 (check)", "damage found in sound logs: {}", finding.text);
}

/// Everything into the base; with the clients idle the base must then hold the disk.
void Scenario::drain() {
  std::vector<DiskSim*> online;
  for (const auto& disk : run_.disks)
    if (disk->session != nullptr) online.push_back(disk.get());
  if (online.empty()) return;
  DiskSim& disk = *online[random_.below(online.size())];
  const bool idle = random_.chance(1, 2);
  if (idle) quiesce();
  if (run_.failed()) return;
  bool done = false;
  std::optional<Error> error;
  std::string name = disk.options.name;
  disk.session->machine.spawn(
      drain_disk(&disk.session->machine.host(), std::move(name), &error, &done));
  if (!wait("drain", kPatienceNs, [&] { return done; })) return;
  world_.trace("{}: drained{}", disk.options.name, error.has_value() ? ": " + error->message : "");
  if (error.has_value()) {
    if (!disk.damaged)
      run_.fail("4 (drain)", "{}: drain failed: {}", disk.options.name, error->message);
    return;
  }
  if (!idle || disk.session->outstanding != 0 || disk.damaged) return;
  const uint64_t begun = disk.model.begin();
  for (uint64_t page = 0; page < disk.options.size_bytes / kBlockBytes; ++page) {
    std::array<std::byte, kBlockBytes> bytes{};
    const sim::PageRef content = disk.cloud.base_store().peek(page);
    if (!content.null()) std::copy_n(content.data(), kBlockBytes, bytes.begin());
    const std::string wrong = disk.model.check_read(page * kBlockSectors, bytes, begun);
    if (!wrong.empty()) {
      run_.fail("4 (drain)", "{}: the base lacks data after a drain: {}", disk.options.name, wrong);
      return;
    }
  }
}

}  // namespace latte::simtest
