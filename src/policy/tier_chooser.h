// TierChooser: what a disk asks which tier is to do what both could, a read or a write: a
// Dispatcher and, where it has a model, the trainer.
//
// Modes:
//   local  not asked at all; such I/Os go to the pool
//   wait   the shortest expected wait, the dispatcher's rule, with its exploration and guards
//   svm    the linear model, trained on the disk's own I/O
//   lots   by lot: for tests of what must hold whatever is chosen; no configuration has it
// Thread rule: the disk's reactor; see DispatchTrainer for its thread. No allocation, lock or
// system call after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "policy/dispatch_trainer.h"
#include "policy/dispatcher.h"

namespace latte {

enum class DispatchMode : uint8_t { local, wait, svm, lots };
/// The mode of that name that a configuration may have, if there is one.
std::optional<DispatchMode> dispatch_mode(std::string_view name);
std::string_view name_of(DispatchMode mode);

struct DispatchOptions {
  DispatchMode mode = DispatchMode::local;
  /// Who trains: in virtual time the reactor itself, at once, so that a seed repeats a run.
  DispatchTrainer::Runs training = DispatchTrainer::Runs::on_a_thread;
};

class TierChooser {
 public:
  /// `options.mode` is not `local`.
  TierChooser(DispatchOptions options, uint64_t seed);

  /// As Dispatcher::obviously_local(): begin_obvious() is to follow, or else choose() to say.
  bool obviously_local(const DispatchIo& io, TimeNs turn_ns) {
    return !lots_ && dispatcher_.obviously_local(io, turn_ns);
  }
  DispatchTicket begin_obvious(const DispatchIo& io) {
    return trainer_ ? trainer_->begin_obvious(io) : dispatcher_.begin_obvious(io);
  }
  /// The tier for an I/O that both could do; it counts as under way there.
  DispatchTicket choose(const DispatchIo& io) {
    if (lots_) return dispatcher_.begin_on(io, lots_->chance(1, 2) ? Tier::cloud : Tier::local);
    return trainer_ ? trainer_->begin(io) : dispatcher_.begin(io);
  }
  /// An I/O without a choice.
  DispatchTicket note(const DispatchIo& io, Tier tier) { return dispatcher_.begin_on(io, tier); }
  void end(const DispatchTicket& ticket, TimeNs now_ns, bool ok) {
    if (trainer_)
      trainer_->end(ticket, now_ns, ok);
    else
      dispatcher_.end(ticket, now_ns, ok);
  }
  /// What an I/O on `tier` took lately, in us; 0: unknown.
  float usual_us(Tier tier, IoKind kind) const {
    return dispatcher_.state().history(tier, kind).slow_latency_us;
  }
  bool silent(Tier tier, TimeNs now_ns) const { return dispatcher_.silent(tier, now_ns); }
  uint64_t trainings() const { return trainer_ ? trainer_->trainings() : 0; }

 private:
  Dispatcher dispatcher_;
  std::optional<DispatchTrainer> trainer_;
  std::optional<Random> lots_;
};

}  // namespace latte
