// Connection: one NBD client, from the greeting to the end. Receives and parses in batches, runs
// each request as its own task, and sends the replies of one reactor turn with one call.
//
// Invariants:
//  1. A request holds a slot from when its header is parsed until its reply is sent or given up;
//     slots and the memory of their data are bounded (Limits). Without room nothing more is read
//     from this client: one that never reads its replies holds that much and no more.
//  2. A request that reached the device is waited for, whatever happens to the client.
//  3. One receive and one send are under way at most; replies leave in order of completion.
//  4. A refused write's payload is read and thrown away before the refusal is sent.
// Thread rule: one reactor. Limits: Limits, and the constants below.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/intrusive_list.h"
#include "frontend/deadline.h"
#include "frontend/nbd_export.h"
#include "frontend/nbd_reply.h"
#include "frontend/receive_buffer.h"
#include "frontend/transport.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"
#include "runtime/task.h"

namespace latte::nbd {

/// What one client may take.
struct Limits {
  uint32_t requests = 256;               ///< received and not yet answered
  uint64_t data_bytes = 64u << 20;       ///< memory of their data
  TimeNs negotiation_ns = 30 * kSecond;  ///< from connecting to the first request
  TimeNs linger_ns = 30 * kSecond;       ///< to take the last replies after it said goodbye
  TimeNs stop_ns = 5 * kSecond;          ///< the same when the server stops
};
/// What a connection receives at once: 9,000 reads, or 60 writes of 4 KiB.
inline constexpr size_t kReceiveBytes = 256u << 10;
static_assert(kReceiveBytes > kMaxOptionBytes + sizeof(OptionHeader), "an option fits");
/// A payload at least this long is received in its place, with little behind it, so that the next
/// one is as well; shorter ones are worth copying to save system calls.
inline constexpr uint32_t kDirectPayloadBytes = 32u << 10;
/// What may follow such a payload in one receive: headers, and the beginning of the next payload.
inline constexpr size_t kDirectTailBytes = 4u << 10;
/// Replies are gathered up to this many bytes: enough small ones for one system call. Long ones go
/// one by one, so that the client, and the drive under its next requests, have work while the rest
/// is being sent.
inline constexpr size_t kGatherBytes = 128u << 10;
inline constexpr uint32_t kGatherReplies = 256;

class Connection final : private TurnHook {
 public:
  /// `exports` and `transport` outlive the connection. `peer` names the client in the log.
  Connection(Reactor& reactor, const ExportTable& exports, const Limits& limits,
             Transport& transport, std::string peer);
  ~Connection();

  /// The whole life of the connection. When it ends nothing of it is under way any more. Once only.
  Task<void> serve();
  /// Takes no more requests; those under way end and are answered. serve() then ends.
  void begin_stop();

 private:
  struct Slot : ListNode {
    Request request;
    uint64_t charged_bytes = 0;
    Buffer data;
    ReplyHeader header;
    std::span<const std::byte> tail;  // behind the header: in `data`, or static text
  };

  /// Suspends the caller until at_turn_end() takes its handle from `place`.
  struct Park {
    std::coroutine_handle<>& place;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) { place = handle; }
    void await_resume() const {}
  };

  Task<bool> negotiate();
  Task<void> watch_deadline();
  void spawn_helper(Task<void> task);
  Task<void> receive_requests();
  Task<bool> receive_more();
  Task<bool> receive_payload(std::span<std::byte> payload);
  Task<bool> skip_payload(uint32_t bytes);
  Task<bool> take_payload(Slot& slot, bool keep);
  void start(Slot& slot);
  Task<void> run_request(Slot& slot);
  Task<void> send_replies();

  bool has_room(uint64_t bytes) const {
    return !free_.empty() && (data_bytes_ + bytes <= limits_.data_bytes || data_bytes_ == 0);
  }
  uint64_t charge_of(const Request& request) const;
  Slot& take_slot(const Request& request, uint64_t charged_bytes);
  void release(Slot& slot);
  void reply_status(Slot& slot, IoStatus status);
  void reply_error(Slot& slot, NbdError error, std::string_view message);
  void queue_reply(Slot& slot);
  uint32_t gather_replies();
  void tighten_deadline(TimeNs from_now_ns);
  void give_up();
  void cut_off(std::string_view reason);
  void at_turn_end() override;

  Reactor& reactor_;
  const ExportTable& exports_;
  const Limits limits_;
  Transport& transport_;
  const std::string peer_;

  const Export* export_ = nullptr;
  Agreed agreed_;
  ReceiveBuffer received_{kReceiveBytes};
  size_t receive_limit_bytes_ = kReceiveBytes;
  Deadline deadline_;
  bool stopping_ = false;  // by begin_stop()
  bool broken_ = false;    // replies can't be delivered any more

  std::unique_ptr<Slot[]> slots_;
  IntrusiveList<Slot> free_;
  IntrusiveList<Slot> replies_;  // to be sent
  IntrusiveList<Slot> sending_;  // with the transport
  uint32_t slots_in_use_ = 0;
  uint64_t data_bytes_ = 0;
  WaitQueue room_;
  bool receive_ended_ = false;
  std::coroutine_handle<> idle_sender_;    // resumed at the end of a turn with replies
  std::coroutine_handle<> idle_receiver_;  // resumed at the end of a turn, after the sender
  uint32_t helpers_ = 0;                   // send_replies() and watch_deadline()
  WaitQueue helper_ended_;
  std::array<iovec, 2 * kGatherReplies> pieces_;
};

}  // namespace latte::nbd
