// Dispatcher: which tier an I/O goes to. The linear model decides where it is trained and has
// earned trust, the simple rule (shortest wait) elsewhere; a little is sent the other way so that
// both tiers stay known.
//
// Guards, so that it is never worse than the simple rule for long:
//  - untrained, or a tier hardly known: the rule decides;
//  - where model and rule disagree, the model decides only while those it decided did not cost
//    more than those the rule did, tolls included (model_trust.h, congestion_toll.h);
//  - a tier that is dead, or whose oldest I/O has waited kSilentNs with nothing completed since,
//    gets nothing but probes.
//
// Thread rule: one reactor; set_model() may be called by another thread. No allocation, lock or
// system call after construction.
#pragma once

#include <array>
#include <cstdint>

#include "base/random.h"
#include "policy/dispatch_rules.h"
#include "policy/model_slot.h"
#include "policy/model_trust.h"
#include "policy/svm_model.h"

namespace latte {

struct DispatchTicket {
  Tier tier = Tier::local;
  /// Whose word it was.
  enum class Reason : uint8_t {
    rule,
    model,
    rule_check,
    model_check,
    exploration,
    silent
  } reason = Reason::rule;
  bool judged = false;       ///< model and rule disagreed, and its cost is to tell who is right
  bool only_counts = false;  ///< how long it takes is not looked at
  float toll_us = 0;         ///< of judged ones: what the I/O costs others
  uint32_t slot = DispatchState::kUntracked;
  uint32_t sample = 0;  ///< the trainer's; 0: it does not look at this one
  uint64_t model = 0;   ///< its version, if it had a word
  DispatchIo io{};

  /// Does it go there only so that the tier, or the model, is known?
  bool only_to_know() const {
    return reason == Reason::exploration || reason == Reason::model_check;
  }
};

class Dispatcher {
 public:
  explicit Dispatcher(uint64_t seed) : random_(seed) {}

  /// Is the pool so much sooner for this read, by what both took lately, that begin() would hardly
  /// say anything else? Or does the pool take hardly more (for a read or a write) than the
  /// reactor's own turns, Reactor::turn_length(), so that no other tier could be sooner, and asking
  /// it would take the reactor longer? And is it not the cloud's turn to be explored? Then
  /// begin_obvious() will do, which costs a fourth, whether or not the cloud has the blocks. Ask
  /// once an I/O.
  bool obviously_local(const DispatchIo& io, TimeNs turn_ns);
  /// Counts `io` as under way in the pool; of a few such I/Os one teaches how long they take.
  DispatchTicket begin_obvious(const DispatchIo& io) {
    DispatchTicket ticket = begin_on(io, Tier::local);
    ticket.only_counts = ++obvious_ % kObviousTeaches != 0;
    return ticket;
  }
  /// Chooses for `io` and counts it as under way there.
  DispatchTicket begin(const DispatchIo& io);
  /// Counts `io` as under way on `tier`, whatever begin() would say: for I/Os that have no choice.
  DispatchTicket begin_on(const DispatchIo& io, Tier tier);
  /// It completed at `now_ns`; `ok` false if it failed.
  void end(const DispatchTicket& ticket, TimeNs now_ns, bool ok = true);
  void set_dead(Tier tier, bool dead) { state_.set_dead(tier, dead); }

  /// Any thread: from the next decision on it is used, trusted as the last, or on trial.
  void set_model(const SvmModel& model) { new_model_.publish(model); }

  /// Dead, or nothing was heard of it for long although something is under way.
  bool silent(Tier tier, TimeNs now_ns) const;

  const DispatchState& state() const { return state_; }
  /// The inputs of the last begin(), for the trainer.
  const SvmInputs& last_inputs() const { return inputs_; }
  /// What the model said in the last begin(); false without a model.
  bool last_model_says_cloud() const { return last_score_ > 0; }
  bool trained() const { return trained_; }
  bool trusted(IoKind kind) const { return trust_[static_cast<size_t>(kind)].trusted(); }
  /// Not trusted, and known well enough that another one may take its place.
  bool found_useless(IoKind kind) const {
    const ModelTrust& trust = trust_[static_cast<size_t>(kind)];
    return !trust.trusted() && trust.tried();
  }

 private:
  /// No power of two: an I/O's place in a batch is not to decide.
  static constexpr uint32_t kObviousTeaches = 7;

  Tier decide(const DispatchIo& io, DispatchTicket& ticket);
  bool pool_is_within(float limit_us, float pool_us, const DispatchIo& io) const;
  bool reactor_bound(const DispatchIo& io, TimeNs turn_ns) const;
  bool much_sooner_locally(const DispatchIo& io) const;
  bool exploration_is_due(Tier tier, const DispatchIo& io) const;
  bool wants_exploration(Tier tier, const DispatchIo& io);

  DispatchState state_;
  ModelSlot new_model_;
  SvmModel model_{};
  SvmInputs inputs_{};
  float last_score_ = 0;
  bool trained_ = false;
  uint64_t model_version_ = 0;
  std::array<ModelTrust, kIoKinds> trust_{};
  std::array<std::array<TimeNs, kIoKinds>, kTiers> last_sent_ns_{};
  std::array<uint32_t, kIoKinds> since_exploration_{};
  uint32_t obvious_ = 0;
  Random random_;
};

}  // namespace latte
