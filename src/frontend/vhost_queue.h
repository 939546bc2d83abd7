// VhostQueue: one running queue of a vhost-user-blk device: takes requests from the ring, gives
// them to the BlockDevice, and their answers to the driver.
//
// A turn of the queue (at_turn_end) takes requests as far as its budget of bytes goes, publishes
// all answers of the turn with one index, and wakes the driver at most once. While requests keep
// coming close together the queue looks at the ring every turn of the reactor and the driver's
// kicks are suppressed; when they stop it asks for kicks again, looks once more, and sleeps.
//
// Reads go straight into guest memory. So do writes, unless the device's memory must not change
// under a write (DeviceInfo::stable_writes): a guest may change its buffers at any time.
//
// Invariants:
//  1. A request holds the table of guest memory it was taken with until it is given back.
//  2. A request is given back once, after the device is done with it.
//  3. Queues share the reactor by bytes: a queue that moved more than its budget in a turn waits
//  for
//     as many turns more.
// Thread rule: the reactor's thread. Limits: one slot for each ring entry; kTurnBytes a turn;
// VhostShared::data_bytes_max under way in the device, and WorkShare's limit while other disks are
// busy.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/intrusive_list.h"
#include "device/unique_fd.h"
#include "frontend/driver_call.h"
#include "frontend/virtio_blk.h"
#include "frontend/virtqueue.h"
#include "runtime/repeater.h"
#include "runtime/sync.h"
#include "runtime/uring_reactor.h"
#include "runtime/work_share.h"

namespace latte::vhost {

/// Bytes that a queue may start in a turn of the reactor; requests count at least kMinCostBytes.
inline constexpr int64_t kTurnBytes = 128 << 10;
inline constexpr int64_t kMinCostBytes = 4 << 10;
/// Adaptive polling: worth it if requests come closer than this on average: a kick costs 3 us, a
/// sixth of a request to memory, and 10,000 requests a second are to be as fast as with polling...
inline constexpr TimeNs kPollGapNs = 150 * kMicrosecond;
/// ...and for this long after the last one.
inline constexpr TimeNs kPollWindowNs = 150 * kMicrosecond;

/// What the queues of one device share that run on one reactor.
struct VhostShared {
  VhostShared(UringReactor& owner, BlockDevice& target, std::string device_name)
      : reactor(owner), device(target), name(std::move(device_name)) {}

  UringReactor& reactor;
  BlockDevice& device;     ///< the reactor's
  const std::string name;  ///< for the log, and the driver's GET_ID
  /// Whether queues look at their rings without being kicked.
  Polling polling = Polling::adaptive;
  /// As VhostUserServerOptions has it.
  bool reads_afar = false;
  /// Most data under way: what copies and devices below may hold for this guest, here.
  uint64_t data_bytes_max = 64u << 20;
  uint64_t data_bytes = 0;
  /// The driver did not agree to flush: each write is durable before its answer.
  bool write_through = false;
  /// Requests taken. Written here, read anywhere.
  std::atomic<uint64_t> requests{0};
  /// Running here; while there are any, the disk is a tenant of the drive.
  uint32_t queues = 0;
  std::optional<WorkShare::Tenant> tenant;
  /// Queues that wait until data under way has ended, in order.
  std::vector<class VhostQueue*> short_of_room;
};

class VhostQueue final : private TurnHook {
 public:
  /// `size`: entries of the ring. `kick` is an eventfd; `call` as for set_call(). `shared` outlives
  /// the queue.
  VhostQueue(VhostShared& shared, uint32_t index, std::unique_ptr<Virtqueue> ring, uint32_t size,
             GuestMemoryRef memory, UniqueFd kick, DriverCall* call);
  /// After stop(), or when the reactor is shut down.
  ~VhostQueue();
  VhostQueue(const VhostQueue&) = delete;
  VhostQueue& operator=(const VhostQueue&) = delete;

  /// Serves requests from now on, those first that a server before this one left.
  void start();
  /// Takes no more (SET_VRING_ENABLE 0), or does again.
  void set_enabled(bool enabled);
  /// Why a queue stops.
  enum class Stop : uint8_t {
    asked,  ///< by the front-end, which is told base() and begins there, or at 0
    cut,    ///< connection or server end: the next server goes on by what the inflight region says
  };
  /// Takes no more, waits for what is under way, publishes it, lets go of the descriptors.
  Task<void> stop(Stop why);

  /// Another table of guest memory; requests under way keep theirs.
  void set_memory(GuestMemoryRef memory);
  /// How the driver is called; null: it is not. Alive until the next of these, or stop().
  void set_call(DriverCall* call);
  uint32_t base() const { return ring_->base(); }
  /// The driver broke the rules; the queue does nothing any more.
  bool broken() const { return broken_; }

 private:
  struct Slot;
  struct Watch : UringOp {
    VhostQueue* queue = nullptr;
  };

  void at_turn_end() override;
  void take_requests();
  bool take_one();
  Pop pop(Slot& slot);
  bool has_room(const Slot& slot) const;
  void leave_line();
  void begin(Slot& slot);
  void prepare_transfer(Slot& slot, bool is_write);
  void prepare_range(Slot& slot);
  void issue(Slot& slot);
  bool next_step(Slot& slot);
  void finish(Slot& slot, uint8_t status);
  bool needs_copy(const Slot& slot, bool is_write) const;
  void note_arrivals(uint32_t count);
  void publish();
  void mark_broken(const char* reason);
  bool keep_polling();
  void watch_kick();
  static void on_kick(UringOp* op, int result);
  static Repeater run_slot(Slot& slot);

  VhostShared& shared_;
  UringReactor& reactor_;
  const uint32_t index_;
  std::unique_ptr<Virtqueue> ring_;
  GuestMemoryRef memory_;
  UniqueFd kick_;
  DriverCall* call_;
  bool enabled_ = false;
  bool stopping_ = false;  // by stop()
  bool broken_ = false;
  bool recovering_ = true;  // what a server before this one left is not all taken yet
  bool polling_ = false;
  bool given_back_ = false;  // since the last publish
  int64_t budget_bytes_ = 0;
  TimeNs last_request_ns_ = 0;
  TimeNs gap_ns_ = kSecond;  // mean time between requests, weighted towards the latest
  uint32_t under_way_ = 0;
  std::vector<std::unique_ptr<Slot>> slots_;
  IntrusiveList<Slot> free_;
  Slot* waiting_ = nullptr;  // taken, and without room for its data yet
  Watch kick_watch_;
  WaitQueue changed_;
};

}  // namespace latte::vhost
