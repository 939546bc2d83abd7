#include "scenario.h"

#include <algorithm>

#include "client.h"

namespace latte::simtest {

namespace {
constexpr uint64_t kPhases = 8;
/// Every wait in a run is over within this much virtual time, outages (below 15 s) included.
constexpr TimeNs kPatienceNs = 300 * kSecond;
/// How much later than max_lag a lost write may be: one large append at the slowest cloud, and the
/// time a take-over takes to fence.
constexpr TimeNs kLagSlackNs = 500 * kMillisecond;
/// After a fault the backlog has this long to drain before the lag promise is asked for again.
constexpr TimeNs kCatchUpNs = 15 * kSecond;
/// Start-ups crashed in a row.
constexpr int kMaxBootCrashes = 3;
}  // namespace

/// What every process says of itself, for the reader of a trace.
void Scenario::trace_state() {
  if (!world_.tracing()) return;
  for (const auto& machine : run_.machines) {
    if (!machine->running()) continue;
    const HostStats stats = machine->host().stats();
    world_.trace("{}: pool {} KiB, used {}, dirty {}, failed {}, {} tasks", machine->name(),
                 stats.pool.size_bytes / 1024, stats.pool.used_bytes / 1024,
                 stats.pool.dirty_bytes / 1024, stats.pool.failed, machine->reactor().task_count());
    for (const DiskStats& disk : stats.disks)
      world_.trace(
          "{}: {} is {} ({}), lag {} ms, dirty {} KiB, unapplied {} KiB, lost {}, generation "
          "{}",
          machine->name(), disk.name, disk.state, disk.reason, disk.lag_ns / kMillisecond,
          disk.dirty_bytes / 1024, disk.unapplied_bytes / 1024, disk.lost_blocks, disk.generation);
  }
}

bool Scenario::wait(const char* what, TimeNs limit_ns, const std::function<bool()>& done) {
  if (run_.failed()) return false;
  const auto stop =
      world_.run_until([&] { return run_.failed() || done(); }, world_.now() + limit_ns);
  if (run_.failed()) return false;
  if (stop == sim::World::Stop::condition) return true;
  const char* how = stop == sim::World::Stop::livelock     ? "the engine runs on at one instant"
                    : stop == sim::World::Stop::step_limit ? "the run does not end"
                                                           : "it did not end in time";
  trace_state();
  run_.fail("4 (it goes on)", "{}: {}", what, how);
  return false;
}

void Scenario::note_loss(DiskSim& disk, Loss loss, TimeNs at_ns) {
  if (disk.loss == Loss::none) disk.loss_ns = at_ns;
  disk.loss = std::max(disk.loss, loss);
}

/// Does the promise say that this acknowledged write survives what happened to the disk?
bool Scenario::required(const DiskSim& disk, const Write& write) const {
  switch (disk.loss) {
    case Loss::none:
    case Loss::process:
      return true;
    case Loss::power:
      return write.flushed;
    case Loss::host:
      break;
  }
  if (disk.options.durability == Durability::cloud && write.flushed) return true;
  if (disk.damaged || disk.options.max_lag_ns == kNoLagLimit ||
      disk.healthy_since_ns == sim::kNever)
    return false;
  const TimeNs slack = disk.options.max_lag_ns / 4 + kLagSlackNs;
  if (write.ack_ns >= disk.healthy_since_ns)
    return disk.loss_ns - write.ack_ns > disk.options.max_lag_ns + slack;
  return disk.loss_ns - disk.healthy_since_ns > disk.options.max_lag_ns + slack + kCatchUpNs;
}

void Scenario::verify(Session& session) {
  DiskSim& disk = session.disk;
  std::vector<WriteId> seen;
  bool done = false;
  session.machine.spawn(read_back(run_, &session, &seen, &done));
  if (!wait("reading back after a restart", kPatienceNs, [&] { return done; })) return;
  const char* promise = disk.loss == Loss::host    ? "3 (host loss: a prefix)"
                        : disk.loss == Loss::power ? "2 (power loss)"
                                                   : "1 (process death)";
  const std::string wrong = disk.model.check_recovered(
      disk.loss, seen, [&](const Write& write) { return required(disk, write); },
      disk.loss != Loss::host && session.machine.tail_damaged());
  if (!wrong.empty()) {
    run_.fail(promise, "{} on {}: {}", disk.options.name, session.machine.name(), wrong);
    return;
  }
  world_.trace("{}: read back, fine ({})", disk.options.name, promise);
  disk.model.set_session(session.id);
  const bool complete = std::find(seen.begin(), seen.end(), kUnreadable) == seen.end();
  if (disk.loss == Loss::host && complete && !disk.cloud_damaged && !session.machine.suspect)
    disk.damaged = false;
  disk.damaged |= session.machine.suspect;
  disk.loss = Loss::none;
}

void Scenario::refuse(Session& session) {
  DiskSim& disk = session.disk;
  if (!disk.damaged && !session.machine.suspect)
    run_.fail("1 (it starts again)", "{} on {} refused to start, nothing is broken: {}",
              disk.options.name, session.machine.name(), session.error->message);
}

/// After all of `items` are attached or have failed: checks them and starts their clients.
void Scenario::settle_boot(Machine& machine, const std::vector<BootItem>& items) {
  std::vector<DiskSim*> refused;
  for (const BootItem& item : items) {
    if (run_.failed()) return;
    Session* session = machine.find_session(*item.disk);
    LATTE_CHECK(session != nullptr && session->ready);
    if (session->error.has_value()) {
      refuse(*session);
      if (item.take_over) {
        item.disk->given_up = true;
        item.disk->session = nullptr;
      } else {
        refused.push_back(item.disk);
      }
      continue;
    }
    Session* former = item.disk->session;
    if (former != nullptr && former != session) former->zombie = true;
    item.disk->session = session;
    item.disk->owner = &machine;
    verify(*session);
    mark_unhealthy(*item.disk, world_.now());
    if (run_.failed()) return;
    start_clients(run_, *session,
                  static_cast<unsigned>(random_.between(1, run_.workload.clients_max)));
  }
  if (refused.empty() || run_.failed()) return;
  // A pool that can't be used any more: its disks go elsewhere, from the cloud alone.
  for (DiskSim* disk : refused) note_loss(*disk, Loss::host, world_.now());
  kill(machine, false, Loss::process);
  take_over(spare(machine), refused);
  if (!run_.failed() && !owned(machine).empty()) bring_up(machine, owned(machine));
}

/// Starts (or uses) the machine's process and attaches `items`, with crashes on the way.
void Scenario::bring_up(Machine& machine, std::vector<BootItem> items) {
  if (items.empty() || run_.failed()) return;
  const bool was_running = machine.running();
  for (int crashes = 0;; ++crashes) {
    if (!machine.running()) machine.start(static_cast<TimeNs>(random_.below(1000)) * kSecond);
    machine.attach(items, run_.next_session);
    if (was_running || crashes == kMaxBootCrashes || run_.spared.bootcrash || !random_.chance(1, 5))
      break;
    (void)world_.run_steps(random_.between(1, 600), [&] { return machine.all_ready(); });
    const bool power = random_.chance(1, 2) && !run_.spared.power;
    kill(machine, power, power ? Loss::power : Loss::process);
  }
  if (!wait("start-up", kPatienceNs, [&] { return machine.all_ready(); })) return;
  settle_boot(machine, items);
}

void Scenario::kill(Machine& machine, bool power, Loss loss) {
  for (auto& session : machine.sessions())
    if (session->disk.session == session.get() || session->disk.session == nullptr)
      note_loss(session->disk, loss, world_.now());
  machine.kill(power);
}

/// What the machine has to attach when it starts again.
std::vector<BootItem> Scenario::owned(const Machine& machine) const {
  std::vector<BootItem> items;
  for (const auto& disk : run_.disks)
    if (disk->owner == &machine && disk->session == nullptr && !disk->given_up)
      items.push_back(BootItem{disk.get(), false, false});
  return items;
}

Machine& Scenario::pick_running() {
  std::vector<Machine*> fit;
  for (const auto& machine : run_.machines)
    if (machine->running()) fit.push_back(machine.get());
  LATTE_CHECK(!fit.empty());
  return *fit[random_.below(fit.size())];
}

bool Scenario::any_running() const {
  return std::any_of(run_.machines.begin(), run_.machines.end(),
                     [](const auto& machine) { return machine->running(); });
}

/// Another machine: one that is down, if there is one.
Machine& Scenario::spare(const Machine& other_than) {
  Machine* best = nullptr;
  for (const auto& machine : run_.machines) {
    const bool frozen = machine->running() && machine->reactor().paused();
    if (machine.get() == &other_than || frozen) continue;
    if (best == nullptr || (best->running() && !machine->running())) best = machine.get();
  }
  return *best;
}

void Scenario::set_up() {
  Machine& first = *run_.machines.front();
  first.replace_drive(run_.drive_options(first), run_.pool);
  std::vector<BootItem> items;
  for (const auto& disk : run_.disks) items.push_back(BootItem{disk.get(), true, false});
  first.start(0);
  first.attach(items, run_.next_session);
  if (!wait("set-up", kPatienceNs, [&] { return first.all_ready(); })) return;
  settle_boot(first, items);
  for (const auto& disk : run_.disks)
    if (disk->cloud.leased() && run_.may_break_cloud) break_sessions(*disk);
}

/// Lets the clients of every disk do about `operations`.
void Scenario::work(uint64_t operations) {
  for (const auto& disk : run_.disks) {
    if (disk->session == nullptr) continue;
    disk->budget = random_.between(operations / 2, operations);
    disk->session->work.notify_all();
  }
  const auto spent = [&] {
    return std::all_of(run_.disks.begin(), run_.disks.end(), [](const auto& disk) {
      return disk->session == nullptr || disk->budget == 0 || disk->session->clients == 0;
    });
  };
  (void)wait("clients at work", kPatienceNs, spent);
}

/// Waits until no client of an owner has anything under way.
void Scenario::quiesce() {
  const auto idle = [&] {
    return std::all_of(run_.disks.begin(), run_.disks.end(), [](const auto& disk) {
      return disk->session == nullptr || disk->session->outstanding == 0;
    });
  };
  (void)wait("the last operations", kPatienceNs, idle);
}

void Scenario::finish() {
  mend(true);
  retire_zombies();
  for (const auto& machine : run_.machines) {
    if (run_.failed()) return;
    if (!machine->running()) bring_up(*machine, owned(*machine));
  }
  work(40);
  for (const auto& machine : run_.machines) {
    if (run_.failed()) return;
    if (!machine->running()) continue;
    const bool power = random_.chance(1, 2) && !run_.spared.power;
    kill(*machine, power, power ? Loss::power : Loss::process);
    bring_up(*machine, owned(*machine));
  }
  if (!run_.failed() && any_running()) stop_cleanly();
}

void Scenario::play() {
  set_up();
  const uint64_t phases = random_.between(2, kPhases);
  for (uint64_t i = 0; i < phases && !run_.failed(); ++i) {
    work(random_.between(10, 120));
    if (!run_.failed()) mend(false);
    if (!run_.failed() && run_.snapshots && random_.chance(1, 2)) make_snapshot();
    if (!run_.failed() && run_.snapshots && any_running() && random_.chance(1, 8)) hand_over();
    if (!run_.failed() && any_running()) event();
  }
  if (!run_.failed()) finish();
}

void play(Run& run) { Scenario(run).play(); }

}  // namespace latte::simtest
