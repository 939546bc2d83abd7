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
//  4. When serve() ends nothing of the session is under way; the front-end sees the connection's
//     end after that, so that the used index it then reads is the last one.
//  5. A queue is made, told and destroyed on its lane's reactor; a message is done when the lanes
//  it
//     concerns are.
// Thread rule: the home reactor's thread. Limits: kMaxQueues rings; a front-end has kFirstMessageNs
// to say something and kMessageNs to finish a message.
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
#include "runtime/run_on.h"
#include "runtime/sync.h"

namespace latte::vhost {

inline constexpr TimeNs kFirstMessageNs = 10 * kSecond;
inline constexpr TimeNs kMessageNs = 5 * kSecond;

/// A device, and the reactors that run its queues.
struct VhostDevice {
  VhostDevice(UringReactor& home_reactor, BlockDevice& home_device, std::string device_name)
      : reactor(home_reactor), device(home_device), name(std::move(device_name)) {}

  UringReactor& reactor;  ///< home: messages
  BlockDevice& device;    ///< as home has it
  const std::string name;
  std::vector<std::unique_ptr<VhostShared>> lanes;  ///< one at least; queue i is on lane i % size
};

class VhostUserSession {
 public:
  /// Takes `fd`, a connected unix socket in blocking mode. `device` outlives the session; `peer`
  /// names the front-end in the log.
  VhostUserSession(VhostDevice& device, uint32_t queues, UniqueFd fd, std::string peer);
  ~VhostUserSession();

  /// The whole life of the connection. Once only.
  Task<void> serve();
  /// Takes no more messages; requests under way are finished, and published to the guest, and then
  /// the connection ends.
  void begin_stop();
  /// Tells the front-end, if it can listen, that the configuration space has changed.
  void notify_config_changed();
  /// The front-end has gone, or is being sent away: only requests under way keep the session.
  bool ending() const;

 private:
  /// The part of the session that is a lane's: touched on its reactor, or while it has no queue.
  struct Lane {
    VhostShared* shared = nullptr;
    GuestMemoryRef memory;
  };
  struct Ring {
    Lane* lane = nullptr;
    uint32_t size = 0;
    uint32_t base = 0;
    bool has_addresses = false;
    bool enabled = false;
    RingAddresses addresses;
    std::unique_ptr<DriverCall> call;
    std::unique_ptr<VhostQueue> queue;  // the lane's

    void forget();
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
  void use_features(uint64_t features);
  Result<void> set_protocol_features(uint64_t features);
  Result<void> get_config(const Message& message);
  Task<void> reset();
  uint64_t features_offered() const;
  static Error refused(std::string what) { return {Errc::invalid, std::move(what)}; }
  /// Did the front-end take this feature?
  bool agreed(uint32_t bit) const { return (features_ >> bit & 1) != 0; }

  // vhost_user_setup.cc
  Task<Result<void>> handle_memory(const Message& message, Descriptors& descriptors);
  Task<Result<void>> use_memory(GuestMemory::Regions regions);
  Result<void> handle_inflight(const Message& message, Descriptors& descriptors);
  Task<Result<void>> handle_ring(const Message& message, Descriptors& descriptors);
  Task<Result<void>> set_call(Ring& ring, bool has_fd, Descriptors& descriptors);
  Task<Result<void>> start_ring(uint32_t index, UniqueFd kick);
  Result<std::unique_ptr<Virtqueue>> make_virtqueue(uint32_t index) const;
  Task<void> stop_ring(Ring& ring, VhostQueue::Stop why);
  Task<void> stop_rings(VhostQueue::Stop why);
  bool any_running() const;
  /// Has `function` done on the ring's reactor.
  template <typename Function>
  auto on_lane(const Ring& ring, Function function) {
    return run_on(reactor_, ring.lane->shared->reactor, std::move(function));
  }

  VhostDevice& device_;
  UringReactor& reactor_;
  VhostUserChannel channel_;
  uint64_t features_ = 0;
  uint64_t protocol_features_ = 0;
  uint64_t device_status_ = 0;
  std::vector<Lane> lanes_;
  std::vector<Ring> rings_;
  GuestMemory::Regions regions_;  // of the table that all lanes have
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
