// Lease: the right to write to a volume that cannot fence, kept in a block beside its log. Whoever
// holds it renews it; whoever wants it watches it for its whole duration first.
//
// What it guarantees, and what it can't: docs/internals/leases.md. The one assumption: a request
// takes effect within half the lease's duration of being sent, or never.
//
// Invariants:
//  1. holds() is true for half a duration from the moment at which the last renewal that succeeded
//     was sent; the other half is left to what was sent in its last moment.
//  2. A renewal follows a look. What ran out, or was another's, is looked at, written soon after
//     that look began and, after half a duration, looked at again: two who do that at once can't
//     both win, and who was stopped meanwhile writes nothing.
//  3. Once another session's name was seen in the block, this lease is lost for good.
// Thread rule: one reactor. Limits: kMinLeaseNs to kMaxLeaseNs.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "device/lease_format.h"
#include "device/session_device.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"
#include "runtime/task.h"

namespace latte {

class Lease final : public WriteGuard {
 public:
  struct Options {
    std::string where;  ///< the volume, for errors
    TimeNs duration_ns = 4 * kSecond;
    /// Who asks: another lease of the same holder is not waited for, since its process has ended
    /// (the pool is locked by one process). Nil: nobody in particular.
    Uuid holder;
    /// Take it even from somebody who may be alive.
    bool force = false;
  };
  /// `log` is the device whose head has the block; it outlives this.
  Lease(Reactor& reactor, SessionDevice& log, Options options);

  void set_holder(const Uuid& holder) { options_.holder = holder; }
  void set_force(bool force) { options_.force = force; }
  /// `check` says, after the lease ran out and was claimed anew without anybody's asking, whether
  /// it still is worth anything; lose() is its to call.
  void on_claimed_anew(std::function<Task<IoStatus>()> check) { check_ = std::move(check); }

  /// Takes the lease for a writer of `generation`. Waits for up to its old holder's duration and
  /// half of its own. Errors: busy (its holder is alive, or somebody else was first), damaged,
  /// unsupported, io.
  Task<Result<void>> acquire(uint64_t generation);
  /// Tells in the block which generation the holder writes as. REQUIRES held().
  Task<IoStatus> set_generation(uint64_t generation);
  /// Gives it back, so that the next owner need not wait; acquire() may follow. No-op if it is not
  /// held. On an error, or if it has run out, nothing is written. Ends when it runs out at the
  /// latest.
  Task<IoStatus> release();
  /// What is still under way for it has ended, after release() and the log's close().
  Task<void> finish();

  /// Reads the block: whether it still names this session. Calls that come together share a look
  /// that begins after them.
  Task<IoStatus> confirm() override;
  bool holds() const override;
  bool held() const { return state_ == State::held; }
  bool lost() const { return state_ == State::lost; }
  /// How often it was claimed: at first, and after it ran out. While it was out others may have
  /// been owners, so what is kept beside it must be read anew.
  uint64_t claims() const { return claims_; }
  /// Counts as lost from now on.
  void lose();
  /// Until when holds() stays true without a renewal.
  TimeNs valid_until_ns() const { return valid_until_ns_; }

 private:
  enum class State : uint8_t { none, held, lost };
  using Block = std::optional<LeaseBlock>;

  Task<Result<Block>> look();
  Task<Result<void>> outwait(LeaseBlock other);
  Task<Result<void>> claim(TimeNs settle_ns, uint64_t term);
  Error given_up() const;
  Task<void> write_release();
  Task<bool> wait(TimeNs duration_ns, uint64_t term);
  Task<IoStatus> write_block(LeaseState state, TimeNs send_before_ns);
  Task<IoStatus> write_block_once(LeaseState state, TimeNs send_before_ns);
  Task<void> look_for_all();
  Task<IoStatus> look_once();
  Task<void> keep();
  bool over(uint64_t term) const { return term != term_ || ending_; }
  bool mine(const Block& block) const { return block && block->session == session_; }

  Reactor& reactor_;
  SessionDevice& log_;
  Options options_;
  const Uuid session_;
  State state_ = State::none;
  uint64_t generation_ = 0;
  uint64_t renewals_ = 0;
  TimeNs valid_until_ns_ = 0;
  TimeNs look_begin_ns_ = 0;  // of the last look that succeeded
  uint64_t claims_ = 0;
  std::function<Task<IoStatus>()> check_;
  bool keeping_ = false;
  bool ending_ = false;
  bool releasing_ = false;  // the released block is under way
  IoStatus released_ = IoStatus::ok;
  uint64_t term_ = 0;  // goes up with release(): what a look or a claim of before finds is void
  // confirm(): tickets taken, and those that a finished look covers.
  uint64_t asked_ = 0;
  uint64_t answered_ = 0;
  IoStatus answer_ = IoStatus::ok;
  bool looking_ = false;
  WaitQueue looked_;
};

}  // namespace latte
