#include "frontend/vhost_queue.h"

#include <poll.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/logging.h"

namespace latte::vhost {
namespace {

/// A longer pause counts as this, so that a burst after it is soon seen as one.
constexpr TimeNs kMaxGapNs = 2 * kPollGapNs;
constexpr TimeNs kGapWeight = 8;

void gather(std::span<const iovec> from, std::byte* to) {
  for (const iovec& piece : from) {
    std::memcpy(to, piece.iov_base, piece.iov_len);
    to += piece.iov_len;
  }
}

void scatter(const std::byte* from, std::span<const iovec> to) {
  for (const iovec& piece : to) {
    std::memcpy(piece.iov_base, from, piece.iov_len);
    from += piece.iov_len;
  }
}

}  // namespace

struct VhostQueue::Slot : ListNode {
  explicit Slot(VhostQueue& owner) : queue(owner), coroutine(run_slot(*this)) {}
  VhostQueue& queue;
  Repeater coroutine;  ///< what the device resumes when the request is done
  Chain chain;
  BlkCommand command;
  GuestMemoryRef memory;
  IoRequest io;
  Buffer copy;
  iovec copy_piece{};
  uint64_t charged_bytes = 0;
  uint32_t ranges_done = 0;
};

Repeater VhostQueue::run_slot(Slot& slot) {
  for (;;) {
    if (slot.queue.next_step(slot)) slot.queue.issue(slot);
    co_await std::suspend_always{};
  }
}

VhostQueue::VhostQueue(VhostShared& shared, uint32_t index, std::unique_ptr<Virtqueue> ring,
                       uint32_t size, GuestMemoryRef memory, UniqueFd kick, DriverCall* call)
    : shared_(shared),
      reactor_(shared.reactor),
      index_(index),
      ring_(std::move(ring)),
      memory_(std::move(memory)),
      kick_(std::move(kick)),
      call_(call),
      changed_(shared.reactor) {
  if (shared_.queues++ == 0) shared_.tenant.emplace(reactor_.work_share());
  slots_.reserve(size);
  for (uint32_t i = 0; i < size; ++i) {
    slots_.push_back(std::make_unique<Slot>(*this));
    free_.push_back(*slots_.back());
  }
  kick_watch_.queue = this;
  kick_watch_.complete = &on_kick;
}

VhostQueue::~VhostQueue() {
  leave_line();
  if (--shared_.queues == 0) shared_.tenant.reset();
}

void VhostQueue::start() {
  watch_kick();
  last_request_ns_ = reactor_.now();
  reactor_.arm(*this);
}

void VhostQueue::set_enabled(bool enabled) {
  enabled_ = enabled;
  reactor_.arm(*this);
}

void VhostQueue::set_memory(GuestMemoryRef memory) {
  if (!ring_->relocate(*memory)) mark_broken("the ring is not in the new memory table");
  memory_ = std::move(memory);
}

void VhostQueue::set_call(DriverCall* call) {
  call_ = call;
  // The driver may have missed a call in between; one too many does no harm.
  if (call_ != nullptr) call_->call();
}

Task<void> VhostQueue::stop(Stop why) {
  stopping_ = true;
  reactor_.arm(*this);
  // Also what a server before this one left is done now: base() counts it as done. In a queue that
  // was never enabled it stays marked for the next one.
  while (!broken_ && enabled_ && recovering_) co_await changed_.wait();
  while (under_way_ > 0) co_await changed_.wait();
  if (!broken_) {
    publish();
    if (!recovering_ && why == Stop::asked) ring_->close();
  }
  unlink();  // the turn hook
  if (!kick_watch_.under_way) co_return;
  UringOp* watch = &kick_watch_;
  const int result =
      co_await reactor_.op([watch](io_uring_sqe* sqe) { io_uring_prep_cancel(sqe, watch, 0); });
  (void)result;  // not found: it is just ending by itself
  while (kick_watch_.under_way) co_await changed_.wait();
}

void VhostQueue::at_turn_end() {
  take_requests();
  if (given_back_) publish();
  if (broken_) return;
  if (stopping_) {
    if (recovering_ && enabled_ && waiting_ == nullptr) reactor_.arm(*this);
    changed_.notify_all();
    return;
  }
  // Who waits for room is armed when there is some.
  if (!enabled_ || waiting_ != nullptr) return;
  if (recovering_ || keep_polling()) {
    if (!std::exchange(polling_, true)) ring_->suppress_kicks();
    reactor_.arm(*this);
    return;
  }
  polling_ = false;
  if (ring_->request_kicks()) reactor_.arm(*this);
}

bool VhostQueue::keep_polling() {
  if (shared_.polling == Polling::always) return true;
  if (shared_.polling == Polling::never || gap_ns_ > kPollGapNs) return false;
  return reactor_.turn_time() - last_request_ns_ < kPollWindowNs;
}

void VhostQueue::note_arrivals(uint32_t count) {
  if (count == 0) return;
  shared_.requests.store(shared_.requests.load(std::memory_order_relaxed) + count,
                         std::memory_order_relaxed);
  const TimeNs now_ns = reactor_.turn_time();
  shared_.tenant->note_request(now_ns);
  if (shared_.polling != Polling::adaptive) return;
  const TimeNs gap_ns = std::min((now_ns - last_request_ns_) / count, kMaxGapNs);
  last_request_ns_ = now_ns;
  gap_ns_ = std::min(gap_ns_, kMaxGapNs);
  gap_ns_ += (gap_ns - gap_ns_) / kGapWeight;
}

void VhostQueue::take_requests() {
  budget_bytes_ = std::min(budget_bytes_ + kTurnBytes, kTurnBytes);
  uint32_t taken = 0;
  while (budget_bytes_ > 0 && !broken_ && take_one()) ++taken;
  note_arrivals(taken);
}

/// Takes and begins one request; false: there is none, or none may be taken now.
bool VhostQueue::take_one() {
  Slot* slot = std::exchange(waiting_, nullptr);
  if (slot == nullptr) {
    if ((stopping_ && !recovering_) || !enabled_ || free_.empty()) return false;
    slot = &free_.front();
    const Pop result = pop(*slot);
    if (result == Pop::broken) mark_broken(ring_->reason());
    if (result != Pop::chain) return false;
    slot->unlink();
    ++under_way_;
    slot->memory = memory_;
    if (!read_blk_command(shared_.device.info(), slot->chain, slot->command)) {
      --under_way_;
      slot->memory.reset();
      free_.push_front(*slot);
      mark_broken("a request without header or status");
      return false;
    }
  }
  if (!has_room(*slot)) {
    waiting_ = slot;
    auto& line = shared_.short_of_room;
    if (std::find(line.begin(), line.end(), this) == line.end()) line.push_back(this);
    return false;
  }
  leave_line();
  budget_bytes_ -= std::max(static_cast<int64_t>(slot->command.length), kMinCostBytes);
  begin(*slot);
  return true;
}

Pop VhostQueue::pop(Slot& slot) {
  if (recovering_) {
    const Pop result = ring_->pop_unfinished(*memory_, slot.chain);
    if (result != Pop::empty) return result;
    recovering_ = false;
    if (stopping_) return Pop::empty;
  }
  return ring_->pop(*memory_, slot.chain);
}

/// Who waits for room was first: small requests of one queue must not keep a large one of another
/// waiting for ever.
bool VhostQueue::has_room(const Slot& slot) const {
  if (slot.command.length == 0) return true;
  const auto& line = shared_.short_of_room;
  if (!line.empty() && line.front() != this) return false;
  if (shared_.data_bytes == 0) return true;
  const uint64_t after_bytes = shared_.data_bytes + slot.command.length;
  // What may come from far away does not stand in line at the drive.
  const bool at_drive = slot.command.kind != BlkCommand::Kind::read || !shared_.reads_afar;
  return after_bytes <= shared_.data_bytes_max &&
         (!at_drive || after_bytes <= shared_.tenant->limit_bytes());
}

/// Waits for room no more; the next one may look.
void VhostQueue::leave_line() {
  auto& line = shared_.short_of_room;
  if (std::erase(line, this) > 0 && !line.empty()) reactor_.arm(*line.front());
}

bool VhostQueue::needs_copy(const Slot& slot, bool is_write) const {
  const DeviceInfo& info = shared_.device.info();
  if (is_write && info.stable_writes) return true;
  if (info.alignment_bytes <= 1) return false;
  return std::any_of(slot.command.data.begin(), slot.command.data.end(), [&](const iovec& piece) {
    return (reinterpret_cast<uintptr_t>(piece.iov_base) | piece.iov_len) % info.alignment_bytes !=
           0;
  });
}

void VhostQueue::begin(Slot& slot) {
  using Kind = BlkCommand::Kind;
  slot.charged_bytes = 0;
  slot.ranges_done = 0;
  slot.io.fua = false;
  switch (slot.command.kind) {
    case Kind::read:
    case Kind::write:
      prepare_transfer(slot, slot.command.kind == Kind::write);
      return issue(slot);
    case Kind::flush:
      slot.io.op = IoOp::flush;
      slot.io.offset = slot.io.length = 0;
      slot.io.iov_count = 0;
      return issue(slot);
    case Kind::discard:
    case Kind::write_zeroes:
      if (slot.command.range_count == 0) return finish(slot, VIRTIO_BLK_S_OK);
      prepare_range(slot);
      return issue(slot);
    case Kind::get_id:
      slot.command.length = write_blk_id(shared_.name, slot.command.data);
      return finish(slot, VIRTIO_BLK_S_OK);
    case Kind::refused:
      return finish(slot, slot.command.refusal);
  }
}

void VhostQueue::prepare_transfer(Slot& slot, bool is_write) {
  slot.charged_bytes = slot.command.length;
  shared_.data_bytes += slot.charged_bytes;
  slot.io.op = is_write ? IoOp::write : IoOp::read;
  slot.io.fua = is_write && shared_.write_through && shared_.device.info().can_fua;
  slot.io.offset = slot.command.offset;
  slot.io.length = slot.command.length;
  if (!needs_copy(slot, is_write)) {
    slot.io.iov = slot.command.data.data();
    slot.io.iov_count = static_cast<uint32_t>(slot.command.data.size());
    return;
  }
  slot.copy = Buffer(slot.command.length);
  if (is_write) gather(slot.command.data, slot.copy.data());
  slot.copy_piece = {slot.copy.data(), slot.command.length};
  slot.io.iov = &slot.copy_piece;
  slot.io.iov_count = 1;
}

void VhostQueue::prepare_range(Slot& slot) {
  const BlkCommand::Range& range = slot.command.ranges[slot.ranges_done++];
  slot.io.op = range.discard ? IoOp::discard : IoOp::write_zeroes;
  slot.io.fua = shared_.write_through && shared_.device.info().can_fua;
  slot.io.offset = range.offset;
  slot.io.length = range.length;
  slot.io.iov_count = 0;
}

// A loop, because devices may complete inside submit().
void VhostQueue::issue(Slot& slot) {
  do {
    slot.io.waiter = slot.coroutine.handle();
    if (shared_.device.submit(slot.io)) return;
  } while (next_step(slot));
}

/// After a device request: true if the next one of the same command is prepared.
bool VhostQueue::next_step(Slot& slot) {
  const DeviceInfo& info = shared_.device.info();
  if (slot.io.status != IoStatus::ok) {
    finish(slot, blk_status(slot.io.status));
    return false;
  }
  if (slot.command.kind == BlkCommand::Kind::read && !slot.copy.empty())
    scatter(slot.copy.data(), slot.command.data);
  if (slot.ranges_done < slot.command.range_count) {
    prepare_range(slot);
    return true;
  }
  const bool changes = slot.io.op != IoOp::read && slot.io.op != IoOp::flush;
  if (changes && shared_.write_through && !info.can_fua && info.volatile_cache) {
    slot.io.op = IoOp::flush;
    slot.io.iov_count = 0;
    return true;
  }
  finish(slot, VIRTIO_BLK_S_OK);
  return false;
}

void VhostQueue::finish(Slot& slot, uint8_t status) {
  LATTE_CHECK(under_way_ > 0 && slot.memory);
  const bool filled =
      slot.command.kind == BlkCommand::Kind::read || slot.command.kind == BlkCommand::Kind::get_id;
  const uint64_t written = filled && status == VIRTIO_BLK_S_OK ? slot.command.length : 0;
  *slot.command.status = std::byte{status};
  if (!broken_) ring_->push(slot.chain, static_cast<uint32_t>(written + 1));
  if (!slot.copy.empty()) slot.copy = Buffer();
  slot.memory.reset();
  LATTE_CHECK(shared_.data_bytes >= slot.charged_bytes);
  shared_.data_bytes -= slot.charged_bytes;
  free_.push_front(slot);
  --under_way_;
  given_back_ = true;
  reactor_.arm(*this);
  if (!shared_.short_of_room.empty()) reactor_.arm(*shared_.short_of_room.front());
}

void VhostQueue::publish() {
  given_back_ = false;
  if (broken_) {
    if (under_way_ == 0) changed_.notify_all();
    return;
  }
  ring_->publish();
  if (ring_->call_wanted() && call_ != nullptr) call_->call();
}

void VhostQueue::watch_kick() {
  // The counter is never read: each kick is a completion of its own.
  reactor_.submit(kick_watch_, [this](io_uring_sqe* sqe) {
    io_uring_prep_poll_multishot(sqe, kick_.get(), POLLIN);
  });
}

void VhostQueue::on_kick(UringOp* op, int result) {
  VhostQueue& queue = *static_cast<Watch*>(op)->queue;
  if (op->under_way) {
    queue.reactor_.arm(queue);
    return;
  }
  if (queue.stopping_) {
    queue.changed_.notify_all();
    return;
  }
  if (result < 0) return queue.mark_broken("its kick descriptor can't be waited for");
  queue.watch_kick();
  queue.reactor_.arm(queue);
}

void VhostQueue::mark_broken(const char* reason) {
  if (std::exchange(broken_, true)) return;
  log_error("disk {}: vhost queue {} is broken until the guest resets it: {}", shared_.name, index_,
            reason);
  if (Slot* slot = std::exchange(waiting_, nullptr)) {
    slot->memory.reset();
    free_.push_front(*slot);
    --under_way_;
    leave_line();
  }
  changed_.notify_all();
}

}  // namespace latte::vhost
