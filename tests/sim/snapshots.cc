// Scenario: snapshots in the cloud, made while clients go on.
#include <fmt/format.h>

#include <algorithm>

#include "client.h"
#include "scenario.h"

namespace latte::simtest {

namespace {
constexpr TimeNs kPatienceNs = 300 * kSecond;
constexpr TimeNs kAgainNs = 500 * kMillisecond;

Task<void> snapshot_disk(Host* host, std::string disk, std::string name,
                         std::optional<Error>* error, bool* done) {
  const Result<void> made = co_await host->make_snapshot(std::move(disk), std::move(name));
  if (!made) *error = made.error();
  *done = true;
}

/// The process of `latte snapshot rollback`.
struct RollBack {
  RollBack(sim::World& world, DiskSim& of, std::string to)
      : disk(of),
        snapshot(std::move(to)),
        reactor(world, "rollback", kSecond),
        volume(of.cloud, reactor) {}

  DiskSim& disk;
  const std::string snapshot;
  sim::SimReactor reactor;
  sim::SimCloudVolume volume;
  std::optional<Error> error;
  bool done = false;
};

/// Again and again while the cloud is in trouble, as an operator would.
Task<void> run_roll_back(RollBack* all) {
  for (;;) {
    Progress progress;
    const auto done = co_await Host::roll_back(all->reactor, all->volume, all->disk.options.name,
                                               all->snapshot, &progress);
    if (done) break;
    if (done.error().code != Errc::io) {
      all->error = done.error();
      break;
    }
    co_await all->reactor.sleep(kAgainNs);
  }
  all->done = true;
}
}  // namespace

/// What is kept must be the disk after one of its writes, and hold all that were acknowledged when
/// it was ordered.
void Scenario::make_snapshot() {
  std::vector<DiskSim*> fit;
  for (const auto& disk : run_.disks)
    if (disk->session != nullptr && !disk->cloud.leased()) fit.push_back(disk.get());
  if (fit.empty()) return;
  DiskSim& disk = *fit[random_.below(fit.size())];
  // Names come again now and then: then there is a snapshot already, or what a crash left of one.
  const std::string name = fmt::format("s{}", random_.below(3));
  const auto known = disk.cloud.snapshots().find(name);
  const bool exists = known != disk.cloud.snapshots().end() && known->second.complete;
  const uint64_t ordered = disk.model.begin();
  Machine& machine = disk.session->machine;
  bool done = false;
  std::optional<Error> error;
  disk.budget += random_.between(0, 60);
  disk.session->work.notify_all();
  machine.spawn(snapshot_disk(&machine.host(), disk.options.name, name, &error, &done));
  if (random_.chance(1, 6)) {
    // The process dies in the middle of it.
    (void)world_.run_steps(random_.between(1, 400), [&] { return done; });
    if (!done) {
      const bool power = random_.chance(1, 2) && !run_.spared.power;
      kill(machine, power, power ? Loss::power : Loss::process);
      bring_up(machine, owned(machine));
      return;
    }
  }
  if (!wait("a snapshot", kPatienceNs, [&] { return done; })) return;
  world_.trace("{}: snapshot {}: {}", disk.options.name, name,
               error.has_value() ? error->message : "made");
  if (error.has_value()) {
    if (!exists && !disk.damaged && !run_.may_break_cloud)
      run_.fail("7 (snapshot)", "{}: {}", disk.options.name, error->message);
    return;
  }
  if (exists) {
    run_.fail("7 (snapshot)", "{}: snapshot {} was there, and was made again", disk.options.name,
              name);
    return;
  }
  if (!disk.damaged) verify_snapshot(disk, name, ordered);
}

/// Takes a clone over on a machine of its own and reads all of it.
void Scenario::verify_snapshot(DiskSim& disk, const std::string& name, uint64_t ordered) {
  sim::SimCloudOptions service = disk.cloud.options();
  service.name += "@" + name;
  DiskSim clone(world_, disk.index, disk.options, disk.cloud_options, service);
  const sim::SimSnapshot& kept = disk.cloud.snapshots().at(name);
  const auto super = log::parse_cloud_super(kept.super, disk.options.name);
  LATTE_CHECK(super.ok());
  clone.cloud.restore(kept, super.value().generation);
  clone.model = disk.model;
  Machine machine(world_, "clone's", 0, {});
  machine.replace_drive(run_.drive_options(machine), run_.pool);
  machine.start(0);
  machine.attach({BootItem{&clone, false, true}}, run_.next_session);
  if (!wait("a clone's start", kPatienceNs, [&] { return machine.all_ready(); })) return;
  Session& session = *machine.sessions().front();
  if (session.error.has_value()) {
    run_.fail("7 (snapshot)", "{}: snapshot {} can't be served: {}", disk.options.name, name,
              session.error->message);
    return;
  }
  std::vector<WriteId> seen;
  bool done = false;
  machine.spawn(read_back(run_, &session, &seen, &done));
  if (!wait("reading a clone", kPatienceNs, [&] { return done; }) || run_.failed()) return;
  clone.model = disk.model;
  const uint64_t known = disk.model.write_count();
  const std::string wrong = clone.model.check_recovered(
      Loss::host, seen, [&](const Write& write) { return write.acked_at < ordered; }, false);
  if (!wrong.empty())
    run_.fail("7 (snapshot)", "{}: snapshot {}: {}", disk.options.name, name, wrong);
  else if (std::find(seen.begin(), seen.end(), kUnreadable) == seen.end())
    disk.kept.emplace(name, KeptModel{clone.model, known});
}

/// A disk that is nobody's goes back to one of its snapshots, with crashes on the way.
void Scenario::roll_back(DiskSim& disk) {
  auto kept = disk.kept.begin();
  std::advance(kept, static_cast<std::ptrdiff_t>(random_.below(disk.kept.size())));
  const auto [name, then] = *kept;
  for (bool done = false; !done;) {
    const auto before = log::parse_cloud_super_to_roll_back(disk.cloud.super(), disk.options.name);
    RollBack attempt(world_, disk, name);
    attempt.reactor.spawn(run_roll_back(&attempt));
    if (random_.chance(1, 3))
      (void)world_.run_steps(random_.between(1, 400), [&] { return attempt.done; });
    else if (!wait("a rollback", kPatienceNs, [&] { return attempt.done; }))
      return;
    done = attempt.done;
    attempt.volume.process_death();
    attempt.reactor.destroy_tasks();
    world_.trace("{}: back to snapshot {}: {}", disk.options.name, name,
                 attempt.error.has_value() ? attempt.error->message
                 : done                    ? "done"
                                           : "died half way");
    const auto after = log::parse_cloud_super(disk.cloud.super(), disk.options.name);
    if (after && after.value().generation == before.value().generation + 1)
      run_.fail("7 (rollback)", "{}: anybody may adopt it, half rolled back to {}",
                disk.options.name, name);
    if (attempt.error.has_value())
      run_.fail("7 (rollback)", "{}: to snapshot {}: {}", disk.options.name, name,
                attempt.error->message);
    if (run_.failed()) return;
  }
  disk.model.roll_back(then.model, then.known);
}

}  // namespace latte::simtest
