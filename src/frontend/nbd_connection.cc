#include "frontend/nbd_connection.h"

#include <spdlog/spdlog.h>

#include <bit>
#include <utility>

#include "base/check.h"
#include "frontend/nbd_negotiation.h"

namespace latte::nbd {
namespace {

iovec piece_of(std::span<const std::byte> bytes) {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

IoOp op_of(uint16_t command) {
  switch (command) {
    case NBD_CMD_READ:
      return IoOp::read;
    case NBD_CMD_WRITE:
      return IoOp::write;
    case NBD_CMD_TRIM:
      return IoOp::discard;
    // NO_HOLE changes nothing: it asks that later writes to the range do not fail for lack of room,
    // and a log-structured disk holds no room for any block, written with zeroes or otherwise.
    case NBD_CMD_WRITE_ZEROES:
      return IoOp::write_zeroes;
    default:
      LATTE_CHECK(command == NBD_CMD_FLUSH);  // Export::check() refuses the others
      return IoOp::flush;
  }
}

}  // namespace

Connection::Connection(Reactor& reactor, const ExportTable& exports, const Limits& limits,
                       Transport& transport, std::string peer)
    : reactor_(reactor),
      exports_(exports),
      limits_(limits),
      transport_(transport),
      peer_(std::move(peer)),
      deadline_(reactor),
      room_(reactor),
      helper_ended_(reactor) {
  LATTE_CHECK(limits.requests > 0 && limits.requests <= kGatherReplies);
}

Connection::~Connection() = default;

Task<void> Connection::serve() {
  LATTE_CHECK(export_ == nullptr && slots_ == nullptr);
  tighten_deadline(limits_.negotiation_ns);
  spawn_helper(watch_deadline());
  const bool agreed = co_await negotiate();
  if (agreed) {
    slots_ = std::make_unique<Slot[]>(limits_.requests);
    for (uint32_t i = 0; i < limits_.requests; ++i) free_.push_back(slots_[i]);
    spawn_helper(send_replies());
    co_await receive_requests();
    tighten_deadline(stopping_ ? limits_.stop_ns : limits_.linger_ns);
    receive_ended_ = true;
    reactor_.arm(*this);
    while (helpers_ > 1) co_await helper_ended_.wait();
    LATTE_CHECK(slots_in_use_ == 0 && data_bytes_ == 0);
    spdlog::debug("NBD client {} on export '{}' has left", peer_, export_->name());
  }
  deadline_.end();
  while (helpers_ > 0) co_await helper_ended_.wait();
}

void Connection::spawn_helper(Task<void> task) {
  ++helpers_;
  reactor_.spawn(std::move(task));
}

Task<void> Connection::watch_deadline() {
  for (;;) {
    const bool expired = co_await deadline_.expired();
    if (!expired) break;
    cut_off(export_ == nullptr ? "the handshake took too long"
                               : "it did not take its last replies, or the disk gave none");
  }
  --helpers_;
  helper_ended_.notify_all();
}

Task<bool> Connection::negotiate() {
  std::vector<std::byte> answer;
  Negotiation negotiation(exports_, answer);
  for (;;) {
    if (!answer.empty()) {
      iovec piece = piece_of(answer);
      const int sent = co_await transport_.send(&piece, 1);
      if (sent < 0) co_return false;
      answer.clear();
    }
    if (negotiation.state() == Negotiation::State::closed) {
      if (!negotiation.reason().empty())
        spdlog::warn("NBD client {} dropped in the handshake: {}", peer_, negotiation.reason());
      co_return false;
    }
    if (negotiation.state() == Negotiation::State::transmission) break;
    const size_t used = negotiation.consume(received_.readable(), answer);
    received_.consume(used);
    if (used > 0) continue;
    const bool more = co_await receive_more();
    if (!more) co_return false;
  }
  export_ = negotiation.selected();
  agreed_ = negotiation.agreed();
  if (!stopping_) deadline_.set(Deadline::kNever);
  spdlog::debug("NBD client {} uses export '{}'", peer_, export_->name());
  co_return true;
}

void Connection::begin_stop() {
  if (stopping_) return;
  stopping_ = true;
  tighten_deadline(limits_.stop_ns);
  transport_.stop_receiving();
  room_.notify_all();
}

void Connection::tighten_deadline(TimeNs from_now_ns) {
  deadline_.set(std::min(deadline_.time_ns(), reactor_.now() + from_now_ns));
}

// No reply can be delivered any more: what the client still asked for runs to its end unanswered.
void Connection::give_up() {
  broken_ = true;
  transport_.abort();
  room_.notify_all();
}

void Connection::cut_off(std::string_view reason) {
  if (broken_) return;
  spdlog::warn("NBD client {} cut off: {}", peer_, reason);
  give_up();
}

// Nothing is left to parse. What the requests of this turn have to say to the device and the client
// goes to the kernel first, in the same system call: the client hears sooner.
Task<bool> Connection::receive_more() {
  LATTE_CHECK(received_.size() < kReceiveBytes);
  reactor_.arm(*this);
  co_await Park{idle_receiver_};
  iovec piece = piece_of(received_.writable(receive_limit_bytes_));
  const int received = co_await transport_.receive(&piece, 1);
  if (received <= 0 || stopping_ || broken_) co_return false;
  received_.commit(static_cast<size_t>(received));
  co_return true;
}

Task<bool> Connection::receive_payload(std::span<std::byte> payload) {
  while (!payload.empty()) {
    std::array<iovec, 2> pieces{piece_of(payload),
                                piece_of(received_.writable(receive_limit_bytes_))};
    const int received = co_await transport_.receive(pieces.data(), 2);
    if (received <= 0 || stopping_ || broken_) co_return false;
    const size_t direct = std::min(static_cast<size_t>(received), payload.size());
    payload = payload.subspan(direct);
    received_.commit(static_cast<size_t>(received) - direct);
  }
  co_return true;
}

Task<bool> Connection::skip_payload(uint32_t bytes) {
  for (;;) {
    const size_t here = std::min<size_t>(bytes, received_.size());
    received_.consume(here);
    bytes -= static_cast<uint32_t>(here);
    if (bytes == 0) co_return true;
    const bool more = co_await receive_more();
    if (!more) co_return false;
  }
}

// Fetches (or throws away) the payload of a write that is not in the receive buffer as a whole.
Task<bool> Connection::take_payload(Slot& slot, bool keep) {
  if (!keep) co_return co_await skip_payload(slot.request.length);
  const size_t here = received_.take(slot.data.span());
  co_return co_await receive_payload(slot.data.span().subspan(here));
}

Task<void> Connection::receive_requests() {
  Request request;
  while (!stopping_ && !broken_) {
    const Parse parsed = parse_request(received_.readable(), request);
    if (parsed == Parse::bad) co_return cut_off("it sent bytes that are no NBD request");
    if (parsed == Parse::need_more) {
      const bool more = co_await receive_more();
      if (!more) co_return;
      continue;
    }
    received_.consume(sizeof(RequestHeader));
    if (request.type == NBD_CMD_DISC) co_return;
    const bool writes = request.type == NBD_CMD_WRITE;
    if (writes && request.length > NBD_MAX_PAYLOAD)
      co_return cut_off(
          fmt::format("a write of {} bytes, more than {}", request.length, NBD_MAX_PAYLOAD));

    const NbdError refused = export_->check(request, agreed_);
    const uint64_t bytes = refused == NbdError::none ? charge_of(request) : 0;
    while (!has_room(bytes)) {
      co_await room_.wait();
      if (stopping_ || broken_) co_return;
    }
    Slot& slot = take_slot(request, bytes);
    if (writes) {
      receive_limit_bytes_ =
          request.length >= kDirectPayloadBytes ? kDirectTailBytes : kReceiveBytes;
      if (refused == NbdError::none) slot.data = Buffer(request.length);
      if (received_.size() >= request.length && refused == NbdError::none) {
        received_.take(slot.data.span());
      } else {
        const bool complete = co_await take_payload(slot, refused == NbdError::none);
        if (!complete) co_return release(slot);
      }
    }
    if (refused == NbdError::none) {
      start(slot);
    } else {
      reply_error(slot, refused, "request refused: see its flags, alignment, range and length");
    }
  }
}

uint64_t Connection::charge_of(const Request& request) const {
  if (request.type != NBD_CMD_READ && request.type != NBD_CMD_WRITE) return kBlockBytes;
  return std::bit_ceil(std::max<uint64_t>(request.length, kBlockBytes));  // as Buffer rounds
}

Connection::Slot& Connection::take_slot(const Request& request, uint64_t charged_bytes) {
  Slot& slot = free_.pop_front();
  slot.request = request;
  slot.charged_bytes = charged_bytes;
  slot.tail = {};
  ++slots_in_use_;
  data_bytes_ += charged_bytes;
  return slot;
}

void Connection::release(Slot& slot) {
  LATTE_CHECK(!slot.linked() && slots_in_use_ > 0 && data_bytes_ >= slot.charged_bytes);
  slot.data = Buffer();
  data_bytes_ -= slot.charged_bytes;
  --slots_in_use_;
  free_.push_front(slot);  // the one whose memory is warm
  if (room_.has_waiters()) room_.notify_one();
}

void Connection::start(Slot& slot) {
  if (slot.request.type != NBD_CMD_BLOCK_STATUS) return reactor_.spawn(run_request(slot));
  slot.data = describe_extents(export_->device(), slot.request);
  slot.header = ReplyHeader::block_status(slot.request, slot.data.size());
  slot.tail = slot.data.span();
  queue_reply(slot);
}

Task<void> Connection::run_request(Slot& slot) {
  BlockDevice& device = export_->device();
  const Request& request = slot.request;
  const bool writes = request.type != NBD_CMD_READ && request.type != NBD_CMD_FLUSH;
  const bool fua = writes && (request.flags & NBD_CMD_FLAG_FUA) != 0;
  const bool fua_by_device = fua && device.info().can_fua;
  if (request.type == NBD_CMD_READ) slot.data = Buffer(request.length);

  iovec piece = piece_of(slot.data.span());
  IoRequest io;
  io.op = op_of(request.type);
  io.fua = fua_by_device;
  io.offset = request.offset;
  io.length = request.length;
  io.iov = &piece;
  io.iov_count = slot.data.empty() ? 0 : 1;
  IoStatus status = co_await device.io(io);
  if (status == IoStatus::ok && fua && !fua_by_device) status = co_await device.flush();
  reply_status(slot, status);
}

void Connection::reply_status(Slot& slot, IoStatus status) {
  if (status != IoStatus::ok) return reply_error(slot, error_of(status), to_string(status));
  if (slot.request.type == NBD_CMD_READ) {
    slot.header = ReplyHeader::read(slot.request, agreed_.structured_replies);
    slot.tail = slot.data.span();
  } else {
    slot.header = ReplyHeader::success(slot.request);
  }
  queue_reply(slot);
}

// `message` is text that lives forever.
void Connection::reply_error(Slot& slot, NbdError error, std::string_view message) {
  slot.header = ReplyHeader::error(slot.request, error, agreed_.structured_replies, message);
  if (agreed_.structured_replies) slot.tail = std::as_bytes(std::span(message));
  queue_reply(slot);
}

void Connection::queue_reply(Slot& slot) {
  replies_.push_back(slot);
  reactor_.arm(*this);
}

// Resumes directly, not through the ready queue: then both operations go to the kernel with this
// turn's.
void Connection::at_turn_end() {
  if (!replies_.empty() || receive_ended_) {
    if (const auto sender = std::exchange(idle_sender_, nullptr)) sender.resume();
  }
  // The last thing done here: the receiver may end the connection.
  if (const auto receiver = std::exchange(idle_receiver_, nullptr)) receiver.resume();
}

// Moves replies to sending_ and lists their bytes in pieces_; returns how many pieces.
uint32_t Connection::gather_replies() {
  LATTE_CHECK(sending_.empty());
  uint32_t count = 0;
  size_t bytes = 0;
  while (!replies_.empty() && bytes < kGatherBytes && count + 2 <= pieces_.size()) {
    Slot& slot = replies_.pop_front();
    sending_.push_back(slot);
    pieces_[count++] = piece_of(slot.header.bytes());
    if (!slot.tail.empty()) pieces_[count++] = piece_of(slot.tail);
    bytes += slot.header.bytes().size() + slot.tail.size();
  }
  return count;
}

Task<void> Connection::send_replies() {
  for (;;) {
    if (replies_.empty()) {
      if (receive_ended_ && slots_in_use_ == 0) break;
      co_await Park{idle_sender_};
      continue;
    }
    const uint32_t count = gather_replies();
    LATTE_CHECK(count > 0);
    if (!broken_) {
      const int sent = co_await transport_.send(pieces_.data(), count);
      if (sent < 0) give_up();
    }
    while (!sending_.empty()) release(sending_.pop_front());
  }
  --helpers_;
  helper_ended_.notify_all();
}

}  // namespace latte::nbd
