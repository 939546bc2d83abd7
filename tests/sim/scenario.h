// Scenario: what happens in one run - phases of work, between them crashes, take-overs, faults,
// drains, clean stops - and the promises checked after each.
//
// After every restart: the disk is read back as a whole and checked against the model with the rule
// of the worst loss since the last read-back (process death < power loss < host loss), then
// adopted. Limits: kPhases events a run; each wait has a limit of virtual time, after which the run
// has failed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "run.h"

namespace latte::simtest {

class Scenario {
 public:
  explicit Scenario(Run& run) : run_(run), world_(run.world), random_(run.world.random()) {}
  /// Runs to the end or to the first broken promise.
  void play();

 private:
  // scenario.cc: bringing up, working, reading back
  void set_up();
  void work(uint64_t operations);
  void trace_state();
  bool wait(const char* what, TimeNs limit_ns, const std::function<bool()>& done);
  void verify(Session& session);
  void note_loss(DiskSim& disk, Loss loss, TimeNs at_ns);
  bool required(const DiskSim& disk, const Write& write) const;
  void bring_up(Machine& machine, std::vector<BootItem> items);
  void settle_boot(Machine& machine, const std::vector<BootItem>& items);
  void refuse(Session& session);
  void kill(Machine& machine, bool power, Loss loss);
  std::vector<BootItem> owned(const Machine& machine) const;
  Machine& pick_running();
  bool any_running() const;
  Machine& spare(const Machine& other_than);
  void quiesce();
  void finish();

  // events.cc: what happens between phases of work
  void event();
  void crash(bool power);
  void lose_host();
  void take_over_live();
  void hand_over();
  void retire_zombies();
  void retire(Machine& machine);
  void stop_cleanly();
  void check_offline(Machine& machine);
  void drain();
  void take_over(Machine& target, std::vector<DiskSim*> disks);

  // snapshots.cc
  void make_snapshot();
  void verify_snapshot(DiskSim& disk, const std::string& name, uint64_t ordered);
  void roll_back(DiskSim& disk);

  // faults.cc: what is broken meanwhile
  void break_cloud();
  void break_sessions(DiskSim& disk);
  void break_drive();
  void break_bytes();
  void mend(bool all);
  void mark_damaged(Machine& machine);
  void mark_unhealthy(DiskSim& disk, TimeNs until_ns);
  void mark_mended(DiskSim& disk);

  Run& run_;
  sim::World& world_;
  Random& random_;
};

/// Plays one seed.
void play(Run& run);

}  // namespace latte::simtest
