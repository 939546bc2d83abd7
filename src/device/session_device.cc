// SessionDevice, requests: reads, writes with their copies, flushes, and the head.
#include "device/session_device.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/planted.h"

namespace latte {
namespace {

/// Longest request for zeroes: it carries no data, but a service without a fast way writes them.
constexpr uint64_t kMaxZeroBytes = 128u << 20;
/// A start asks the head for much in a row: one request refused in passing must not end it.
constexpr int kHeadReadTries = 4;
constexpr TimeNs kHeadReadPauseNs = 20 * kMillisecond;
/// Zeroes sent as data at a time, where the service can't make them itself.
constexpr uint64_t kZeroDataBytes = 1u << 20;

IoStatus status_of(SessionCommand::End end) {
  switch (end) {
    case SessionCommand::End::ok:
      return IoStatus::ok;
    case SessionCommand::End::no_space:
      return IoStatus::no_space;
    default:
      return IoStatus::io_error;
  }
}

}  // namespace

SessionDevice::SessionDevice(Reactor& reactor, Options options,
                             std::vector<std::unique_ptr<Session>> sessions)
    : reactor_(reactor),
      options_(std::move(options)),
      sessions_(std::move(sessions)),
      watchers_(sessions_.size()),
      changed_(reactor) {
  LATTE_CHECK(!sessions_.empty());
  info_.name = options_.name;
  for (size_t i = 0; i < sessions_.size(); ++i) {
    watchers_[i].device = this;
    watchers_[i].index = i;
    sessions_[i]->observe(watchers_[i]);
  }
}

SessionDevice::~SessionDevice() = default;

void SessionDevice::leave() {
  LATTE_CHECK(busy_ > 0);
  --busy_;
}

bool SessionDevice::submit(IoRequest& request) {
  LATTE_CHECK(opened_);
  const auto refuse = [&](IoStatus status) {
    request.status = status;
    return false;
  };
  if (closing_) return refuse(IoStatus::stopped);
  if (fenced_ && request.op != IoOp::read) return refuse(IoStatus::fenced);
  if (request.op == IoOp::flush) {
    reactor_.spawn(run_flush(request));
    return true;
  }
  const uint64_t unit = info_.alignment_bytes;
  if (request.length == 0 || request.offset % unit != 0 || request.length % unit != 0 ||
      !range_within(request.offset, request.length, info_.size_bytes))
    return refuse(IoStatus::invalid);
  if (request.op == IoOp::read)
    reactor_.spawn(run_read(request));
  else if (options_.read_only)
    return refuse(IoStatus::invalid);
  else
    reactor_.spawn(run_write(request));
  return true;
}

Task<void> SessionDevice::run_read(IoRequest& request) {
  const Busy busy(*this);
  IoStatus status = IoStatus::ok;
  const uint64_t offset = request.offset + options_.head_bytes;
  if (request.iov_count == 1) {
    auto* data = static_cast<std::byte*>(request.iov[0].iov_base);
    status = co_await read_parts(offset, {data, request.length});
  } else {
    Buffer whole(request.length);
    status = co_await read_parts(offset, whole.span());
    size_t at = 0;
    for (uint32_t i = 0; i < request.iov_count && status == IoStatus::ok; ++i) {
      std::memcpy(request.iov[i].iov_base, whole.data() + at, request.iov[i].iov_len);
      at += request.iov[i].iov_len;
    }
  }
  request.status = status;
  reactor_.schedule(request.waiter);
}

/// Waits until no replay has anything to write to the range. It may change again meanwhile.
Task<IoStatus> SessionDevice::await_replays(uint64_t offset, uint64_t length) {
  const auto waits = [&] {
    return !planted(Planted::replay_out_of_order) &&
           std::any_of(writes_.begin(), writes_.end(), [&](const Write& write) {
             return write.replay && write.overlaps(offset, length);
           });
  };
  while (waits()) {
    if (closing_) co_return IoStatus::stopped;
    if (fenced_) co_return IoStatus::fenced;  // nothing is replayed any more
    Session* found = co_await session();
    if (found == nullptr) co_return closing_ ? IoStatus::stopped : IoStatus::io_error;
    if (waits()) co_await changed_.wait();
  }
  co_return IoStatus::ok;
}

Task<IoStatus> SessionDevice::read_parts(uint64_t offset, std::span<std::byte> data) {
  for (uint64_t done = 0; done < data.size();) {
    const IoStatus clear = co_await await_replays(offset, data.size());
    if (clear != IoStatus::ok) co_return clear;
    Session* found = co_await session();
    if (found == nullptr) co_return closing_ ? IoStatus::stopped : IoStatus::io_error;
    SessionCommand command;
    command.op = IoOp::read;
    command.offset = offset + done;
    command.length = std::min<uint64_t>(data.size() - done, facts_.max_request_bytes);
    command.data = data.data() + done;
    const auto end = co_await found->run(command);
    if (end == SessionCommand::End::lost) continue;
    if (end != SessionCommand::End::ok) co_return status_of(end);
    done += command.length;
  }
  co_return IoStatus::ok;
}

uint64_t SessionDevice::part_bytes(const Write& write) const {
  if (!write.data.empty()) return facts_.max_request_bytes;
  if (facts_.can_zero) return kMaxZeroBytes;
  return std::min(kZeroDataBytes, facts_.max_request_bytes);
}

Task<void> SessionDevice::run_write(IoRequest& request) {
  const Busy busy(*this);
  // Too much to keep a copy of: a flush lets go of it.
  IoStatus status = IoStatus::ok;
  if (unflushed_bytes_ >= options_.max_unflushed_bytes) status = co_await flush_writes();
  if (status == IoStatus::ok) {
    const Place write = writes_.emplace(writes_.end());
    write->order = next_order_++;
    write->offset = request.offset + options_.head_bytes;
    write->length = request.length;
    write->fua = request.fua && facts_.can_fua;
    if (request.op == IoOp::write) {
      write->data = Buffer(request.length);
      size_t at = 0;
      for (uint32_t i = 0; i < request.iov_count; ++i) {
        std::memcpy(write->data.data() + at, request.iov[i].iov_base, request.iov[i].iov_len);
        at += request.iov[i].iov_len;
      }
      LATTE_CHECK(at == request.length);
      unflushed_bytes_ += request.length;
    }
    write->many_parts = write->length > part_bytes(*write);
    status = co_await put(write);
    if (status != IoStatus::ok) {
      unflushed_bytes_ -= write->data.size();
      writes_.erase(write);
      changed_.notify_all();
    } else if (request.fua && !facts_.can_fua) {
      status = co_await flush_writes();
    }
  }
  request.status = status;
  reactor_.schedule(request.waiter);
}

bool SessionDevice::older_replay(const Write& write) {
  if (planted(Planted::replay_out_of_order)) return false;
  for (const Write& other : writes_) {
    if (other.order >= write.order) return false;
    if (other.replay && other.overlaps(write.offset, write.length)) return true;
  }
  return false;
}

/// Until when a lost request of another write may still change the range; 0: none can.
TimeNs SessionDevice::late_until(const Write& write) {
  std::erase_if(late_, [&](const Late& late) { return late.until_ns <= reactor_.now(); });
  TimeNs until_ns = 0;
  if (planted(Planted::replay_out_of_order)) return until_ns;
  for (const Late& late : late_)
    if (late.order != write.order && write.overlaps(late.offset, late.length))
      until_ns = std::max(until_ns, late.until_ns);
  return until_ns;
}

/// Waits until nothing older is in the way of the write.
Task<IoStatus> SessionDevice::clear_way(Place write) {
  for (;;) {
    if (closing_) co_return IoStatus::stopped;
    if (fenced_) co_return IoStatus::fenced;
    const TimeNs until_ns = late_until(*write);
    if (until_ns > 0) {
      co_await reactor_.sleep_until(until_ns);
    } else if (older_replay(*write)) {
      // One that broke again while this one was replayed: replay_all() turns to it.
      if (write->replay) co_return IoStatus::io_error;
      // Without a session nothing will change for now.
      Session* found = co_await session();
      if (found == nullptr) co_return IoStatus::io_error;
      if (older_replay(*write)) co_await changed_.wait();
    } else {
      co_return IoStatus::ok;
    }
  }
}

/// Sends the write, as often as it takes. On return it is answered, or failed for good.
Task<IoStatus> SessionDevice::put(Place write) {
  bool restart = true;
  while (restart) {
    restart = false;
    write->again = false;
    write->state = Write::State::sending;
    const uint64_t step = part_bytes(*write);
    for (uint64_t at = 0; at < write->length && !restart; at += step) {
      const IoStatus status =
          co_await put_part(write, at, std::min(step, write->length - at), &restart);
      if (status != IoStatus::ok) co_return status;
    }
    restart |= write->again;
  }
  write->state = Write::State::answered;
  write->replay = false;
  write->answered_tick = ++tick_;
  changed_.notify_all();
  co_return IoStatus::ok;
}

Task<IoStatus> SessionDevice::put_part(Place write, uint64_t at, uint64_t length, bool* restart) {
  Buffer zeroes;
  if (write->data.empty() && !facts_.can_zero) {
    zeroes = Buffer(length);
    std::memset(zeroes.data(), 0, length);
  }
  Session* found = nullptr;
  // All conditions must hold at the instant of sending; each wait may undo another.
  for (bool ready = false; !ready;) {
    const IoStatus clear = co_await clear_way(write);
    if (clear != IoStatus::ok) co_return clear;
    if (guard_ != nullptr) {
      const IoStatus allowed = co_await guard_->confirm();
      if (allowed == IoStatus::fenced) fenced_ = true;
      if (allowed != IoStatus::ok) co_return allowed;
    }
    found = co_await session();
    if (found == nullptr) co_return closing_ ? IoStatus::stopped : IoStatus::io_error;
    ready =
        (guard_ == nullptr || guard_->holds()) && late_until(*write) == 0 && !older_replay(*write);
  }
  SessionCommand command;
  command.op = write->data.empty() && facts_.can_zero ? IoOp::write_zeroes : IoOp::write;
  command.fua = write->fua;
  command.offset = write->offset + at;
  command.length = length;
  command.data = write->data.empty() ? zeroes.data() : write->data.data() + at;
  write->session = index_of(found);
  write->losses = found->losses();
  const auto end = co_await found->run(command);
  if (end == SessionCommand::End::lost) {
    late_.push_back(
        Late{command.offset, length, write->order, reactor_.now() + options_.landing_ns});
    *restart = true;
    co_return IoStatus::ok;
  }
  co_return status_of(end);
}

Task<void> SessionDevice::run_flush(IoRequest& request) {
  const Busy busy(*this);
  IoStatus status = co_await flush_writes();
  // What a fenced owner made durable must not count: it may have slipped behind the new one.
  if (status == IoStatus::ok && guard_ != nullptr) status = co_await guard_->confirm();
  request.status = status;
  reactor_.schedule(request.waiter);
}

bool SessionDevice::replay_pending(uint64_t up_to_order) const {
  return std::any_of(writes_.begin(), writes_.end(), [&](const Write& write) {
    return write.order <= up_to_order && write.replay;
  });
}

/// Lets go of what the flush covered; false if something up to `up_to_order` needs another one.
bool SessionDevice::forget_flushed(uint64_t up_to_order, uint64_t sent_tick) {
  bool all = true;
  for (auto write = writes_.begin(); write != writes_.end();) {
    const bool answered = write->state == Write::State::answered && !write->replay;
    if (answered && write->answered_tick < sent_tick) {
      unflushed_bytes_ -= write->data.size();
      write = writes_.erase(write);
      continue;
    }
    if (write->order <= up_to_order && (answered || write->replay)) all = false;
    ++write;
  }
  return all;
}

Task<IoStatus> SessionDevice::flush_writes() {
  const uint64_t mark = next_order_ - 1;
  for (;;) {
    if (fenced_) co_return IoStatus::fenced;
    Session* found = co_await session();
    if (found == nullptr) co_return closing_ ? IoStatus::stopped : IoStatus::io_error;
    if (replay_pending(mark) && !planted(Planted::replay_out_of_order)) {
      co_await changed_.wait();
      continue;
    }
    const uint64_t sent_tick = ++tick_;
    SessionCommand command;
    command.op = IoOp::flush;
    const auto end = co_await found->run(command);
    if (end == SessionCommand::End::lost) continue;
    if (end != SessionCommand::End::ok) co_return status_of(end);
    if (forget_flushed(mark, sent_tick)) co_return IoStatus::ok;
  }
}

Task<IoStatus> SessionDevice::read_head(uint64_t offset, std::span<std::byte> data) {
  const Busy busy(*this);
  LATTE_CHECK(range_within(offset, data.size(), options_.head_bytes));
  IoStatus status = IoStatus::io_error;
  for (int tries = 0; status == IoStatus::io_error && tries < kHeadReadTries; ++tries) {
    if (tries > 0) co_await reactor_.sleep(kHeadReadPauseNs);
    status = co_await read_parts(offset, data);
  }
  co_return status;
}

Task<IoStatus> SessionDevice::write_head(uint64_t offset, std::span<const std::byte> data,
                                         TimeNs send_before_ns) {
  const Busy busy(*this);
  LATTE_CHECK(range_within(offset, data.size(), options_.head_bytes) && !options_.read_only);
  Buffer copy(data.size());
  std::memcpy(copy.data(), data.data(), data.size());
  Session* found = co_await session();
  if (found == nullptr) co_return closing_ ? IoStatus::stopped : IoStatus::io_error;
  if (reactor_.now() >= send_before_ns) co_return IoStatus::io_error;
  SessionCommand command;
  command.op = IoOp::write;
  command.fua = facts_.can_fua;
  command.offset = offset;
  command.length = data.size();
  command.data = copy.data();
  const uint64_t losses_before = found->losses();
  auto end = co_await found->run(command);
  if (end != SessionCommand::End::ok || command.fua) co_return status_of(end);
  if (!found->up() || found->losses() != losses_before) co_return IoStatus::io_error;
  SessionCommand flush;
  flush.op = IoOp::flush;
  end = co_await found->run(flush);
  co_return status_of(end);
}

}  // namespace latte
