// VhostUserSession: one front-end's connection to one device: receives its messages and their
// descriptors, keeps what it set up, and starts and stops the queues.
// (Specification: "Vhost-user Protocol", Communication, Front-end message types.)
//
// Invariants:
//  1. Messages are handled one at a time, in order; GET_VRING_BASE is answered when nothing of that
//     ring touches the guest's memory any more.
//  2. Every descriptor received is kept by one owner or closed.
//  3. A message that breaks the protocol ends the connection; one that can't be done is refused if
//     the front-end asked for an answer, and ends the connection if not.
//  4. When serve() ends nothing of the session is under way.
// Thread rule: the reactor's thread. Limits: kMaxQueues rings; a front-end has kFirstMessageNs to
// say something and kMessageNs to finish a message.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "device/unique_fd.h"
#include "frontend/deadline.h"
#include "frontend/vhost_queue.h"
#include "frontend/vhost_user_channel.h"
#include "frontend/vhost_user_protocol.h"
#include "runtime/sync.h"

namespace latte::vhost {

inline constexpr TimeNs kFirstMessageNs = 10 * kSecond;
inline constexpr TimeNs kMessageNs = 5 * kSecond;

class VhostUserSession {
 public:
  /// Takes `fd`, a connected unix socket in blocking mode. `shared` outlives the session; `peer`
  /// names the front-end in the log.
  VhostUserSession(VhostShared& shared, uint32_t queues, UniqueFd fd, std::string peer);
  ~VhostUserSession();

  /// The whole life of the connection. Once only.
  Task<void> serve();
  /// Ends the connection; requests under way are finished, and published to the guest.
  void begin_stop();
  /// Tells the front-end, if it can listen, that the configuration space has changed.
  void notify_config_changed();
  /// The front-end has gone, or is being sent away: only requests under way keep the session.
  bool ending() const;

 private:
  struct Ring {
    uint32_t size = 0;
    uint32_t base = 0;
    bool has_addresses = false;
    bool enabled = false;
    RingAddresses addresses;
    std::unique_ptr<DriverCall> call;
    std::unique_ptr<VhostQueue> queue;
  };
  struct ConfigNote : UringOp {
    VhostUserSession* session = nullptr;
    iovec piece{};
    msghdr header{};
  };

  Task<void> receive_messages();
  Task<void> watch_deadline();
  Task<Result<void>> handle(const Message& message, Descriptors& descriptors);
  Result<void> set_features(uint64_t features);
  Result<void> set_protocol_features(uint64_t features);
  Result<void> get_config(const Message& message);
  Task<void> reset();
  uint64_t features_offered() const;
  static Error refused(std::string what) { return {Errc::invalid, std::move(what)}; }
  /// Did the front-end take this feature?
  bool agreed(uint32_t bit) const { return (features_ >> bit & 1) != 0; }

  // vhost_user_setup.cc
  Result<void> handle_memory(const Message& message, Descriptors& descriptors);
  Result<void> use_memory(GuestMemory::Regions regions);
  Result<void> handle_inflight(const Message& message, Descriptors& descriptors);
  Task<Result<void>> handle_ring(const Message& message, Descriptors& descriptors);
  Task<Result<void>> start_ring(uint32_t index, UniqueFd kick);
  Task<void> stop_ring(Ring& ring);
  Task<void> stop_rings();
  bool any_running() const;

  VhostShared& shared_;
  UringReactor& reactor_;
  VhostUserChannel channel_;
  uint64_t features_ = 0;
  uint64_t protocol_features_ = 0;
  uint64_t device_status_ = 0;
  std::vector<Ring> rings_;
  GuestMemoryRef memory_;
  std::shared_ptr<InflightRegion> inflight_;
  UniqueFd backend_channel_;
  ConfigNote note_;
  Reply note_message_ = Reply::backend_request(kBackendConfigChange);
  std::optional<Reply> reply_;  // of the message being handled
  UniqueFd reply_fd_;
  Deadline deadline_;
  bool ending_ = false;
  bool watching_ = false;
  WaitQueue changed_;
};

}  // namespace latte::vhost
