// TierChooser: what a disk asks which tier is to answer a read that both could: a Dispatcher and,
// where it has a model, the trainer.
//
// Modes:
//   local  not asked at all; such reads go to the pool
//   wait   the shortest expected wait, the dispatcher's rule, with its exploration and guards
//   svm    the linear model, trained on the disk's own I/O
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

enum class DispatchMode : uint8_t { local, wait, svm };
/// The mode of that name, if there is one.
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

  /// The tier for a read that both could answer; it counts as under way there.
  DispatchTicket choose(const DispatchIo& io) {
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
  /// What a read on `tier` took lately, in us; 0: unknown.
  float usual_read_us(Tier tier) const {
    return dispatcher_.state().history(tier, IoKind::read).slow_latency_us;
  }
  uint64_t trainings() const { return trainer_ ? trainer_->trainings() : 0; }

 private:
  Dispatcher dispatcher_;
  std::optional<DispatchTrainer> trainer_;
};

}  // namespace latte
