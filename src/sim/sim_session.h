// SimSession: a session with a simulated cloud, which breaks at random. What was under way then did
// not happen, happened in part, or happens later; what was done and not flushed stays in the
// service's memory, until that restarts.
//
// Thread rule: one world.
#pragma once

#include <string>

#include "device/session.h"
#include "sim/sim_cloud.h"

namespace latte::sim {

class SimSession final : public Session {
 public:
  /// `head`: what the first kLeasedHeadBytes are kept in; null: nothing.
  SimSession(SimCloudVolume& volume, SimReactor& reactor, PageStore& store, PageStore* head,
             const std::string& name);

  void observe(SessionObserver& observer) override { observer_ = &observer; }
  Task<Result<SessionFacts>> connect() override;
  bool up() const override { return up_; }
  uint64_t losses() const override { return losses_; }
  size_t under_way() const override { return under_way_; }
  void send(SessionCommand& command) override;
  void drop() override;
  bool idle() const override { return true; }
  /// The process died: nothing of it is touched any more.
  void process_death();

 private:
  Task<void> carry(SessionCommand& command, uint64_t losses);
  Task<void> break_soon(uint64_t losses);
  Task<IoStatus> execute(const SessionCommand& command);
  void break_ports();

  SimCloudVolume& volume_;
  SimReactor& reactor_;
  PageStore& store_;
  const bool has_head_;
  CloudPort port_;
  CloudPort head_port_;
  SessionObserver* observer_ = nullptr;
  IntrusiveList<SessionCommand> commands_;
  size_t under_way_ = 0;
  uint64_t losses_ = 0;
  uint32_t broken_in_a_row_ = 0;  // sessions in which no flush was answered
  bool up_ = false;
};

}  // namespace latte::sim
