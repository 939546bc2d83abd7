#include "sim/sim_session.h"

#include <algorithm>

namespace latte::sim {
namespace {

constexpr TimeNs kHandshakeNs = 2 * kMillisecond;
/// As often as this the chance that a session breaks is halved at most.
constexpr uint32_t kMaxHalvings = 16;

}  // namespace

SimSession::SimSession(SimCloudVolume& volume, SimReactor& reactor, PageStore& store,
                       PageStore* head, const std::string& name)
    : volume_(volume),
      reactor_(reactor),
      store_(store),
      has_head_(head != nullptr),
      port_(volume, store, name + "@" + reactor.name()),
      head_port_(volume, head != nullptr ? *head : store, name + "/head@" + reactor.name()) {}

Task<Result<SessionFacts>> SimSession::connect() {
  LATTE_CHECK(!up_);
  const SimCloud& cloud = volume_.cloud_;
  co_await reactor_.sleep(kHandshakeNs);
  while (cloud.outage() == Outage::hang) co_await reactor_.sleep(kHandshakeNs * 50);
  if (cloud.out()) co_return Error{Errc::io, "no answer"};
  SessionFacts facts;
  facts.size_bytes = store_.size_bytes() + (has_head_ ? kLeasedHeadBytes : 0);
  facts.alignment_bytes = kSectorBytes;
  facts.max_request_bytes = 256u << 10;
  facts.can_zero = true;
  facts.can_share = true;
  port_.connect(reactor_);
  head_port_.connect(reactor_);
  up_ = true;
  volume_.cloud_.world_.trace("{}: session opened", port_.info().name);
  co_return facts;
}

void SimSession::send(SessionCommand& command) {
  LATTE_CHECK(up_);
  SimCloud& cloud = volume_.cloud_;
  // A thousand requests that were not flushed are sent again with every session. One that breaks as
  // often each time is an outage, which is another fault.
  const uint32_t chance = cloud.faults_.breaks >> std::min(broken_in_a_row_, kMaxHalvings);
  const bool breaks = chance != 0 && cloud.world_.random().below(1'000'000) < chance;
  command.end = SessionCommand::End::pending;
  commands_.push_back(command);
  ++under_way_;
  reactor_.spawn(carry(command, losses_));
  // With the request on its way, and whatever else is.
  if (breaks) reactor_.spawn(break_soon(losses_));
}

Task<void> SimSession::break_soon(uint64_t losses) {
  const uint64_t pause_ns = volume_.cloud_.world_.random().below(4 * kMillisecond);
  co_await reactor_.sleep(static_cast<TimeNs>(pause_ns));
  if (losses_ == losses) drop();
}

/// `command` is gone if the session broke meanwhile; drop() told its submitter. Usually this
/// coroutine is then never resumed either: its port forgot it.
Task<void> SimSession::carry(SessionCommand& command, uint64_t losses) {
  if (losses_ != losses) co_return;
  const IoStatus status = co_await execute(command);
  if (losses_ != losses) co_return;
  command.unlink();
  --under_way_;
  if (command.op == IoOp::flush && status == IoStatus::ok) broken_in_a_row_ = 0;
  command.end = status == IoStatus::ok ? SessionCommand::End::ok : SessionCommand::End::failed;
  reactor_.schedule(command.waiter);
}

Task<IoStatus> SimSession::execute(const SessionCommand& command) {
  IoRequest request;
  iovec vector{command.data, command.length};
  const bool data = command.op == IoOp::read || command.op == IoOp::write;
  request.op = command.op;
  request.offset = command.offset;
  request.length = command.length;
  request.iov = data ? &vector : nullptr;
  request.iov_count = data ? 1 : 0;
  if (command.op == IoOp::flush) {
    const IoStatus status = co_await port_.io(request);
    if (status != IoStatus::ok || !has_head_) co_return status;
    co_return co_await head_port_.flush();
  }
  if (!has_head_) co_return co_await port_.io(request);
  if (command.offset < kLeasedHeadBytes) co_return co_await head_port_.io(request);
  request.offset -= kLeasedHeadBytes;
  co_return co_await port_.io(request);
}

void SimSession::break_ports() {
  port_.process_death();
  head_port_.process_death();
}

void SimSession::drop() {
  if (!up_) return;
  up_ = false;
  ++losses_;
  ++broken_in_a_row_;
  volume_.cloud_.world_.trace("{}: session breaks, {} under way", port_.info().name, under_way_);
  break_ports();
  if (observer_ != nullptr) observer_->on_session_lost();
  while (!commands_.empty()) {
    SessionCommand& command = commands_.pop_front();
    command.end = SessionCommand::End::lost;
    reactor_.schedule(command.waiter);
  }
  under_way_ = 0;
}

void SimSession::process_death() {
  break_ports();
  while (!commands_.empty()) commands_.front().unlink();
  up_ = false;
}

}  // namespace latte::sim
