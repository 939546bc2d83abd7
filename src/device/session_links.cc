// SessionDevice, its sessions: connecting, losing, replaying.
//
// Limits: a failed attempt is repeated after kFirstPauseNs, doubling to kMaxPauseNs.
#include <fmt/core.h>

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/logging.h"
#include "base/planted.h"
#include "device/session_device.h"

namespace latte {
namespace {

constexpr TimeNs kFirstPauseNs = 50 * kMillisecond;
constexpr TimeNs kMaxPauseNs = kSecond;
/// Pause after the service refused a replay.
constexpr TimeNs kReplayPauseNs = 100 * kMillisecond;
constexpr uint64_t kReplaysPerFlush = 16;
constexpr uint64_t kDefaultMaxRequestBytes = 32u << 20;  // the protocol's, if the service says none

}  // namespace

Error SessionDevice::named(const Error& error) const {
  return Error{error.code, fmt::format("{}: {}", options_.name, error.message)};
}

Task<Result<void>> SessionDevice::open() {
  LATTE_CHECK(!opened_);
  auto connected = co_await sessions_[0]->connect();
  if (!connected) co_return named(connected.error());
  facts_ = connected.value();
  if (facts_.max_request_bytes == 0) facts_.max_request_bytes = kDefaultMaxRequestBytes;
  facts_.max_request_bytes = std::min(facts_.max_request_bytes, kDefaultMaxRequestBytes);
  facts_.max_request_bytes = round_down(facts_.max_request_bytes, kBlockBytes);
  const Result<void> fits = accept(facts_);
  if (!fits) {
    sessions_[0]->drop();
    co_return fits;
  }
  info_.size_bytes = round_down(facts_.size_bytes, kBlockBytes) - options_.head_bytes;
  info_.alignment_bytes = std::max(facts_.alignment_bytes, kSectorBytes);
  info_.can_fua = true;  // with a flush of its own where the service has none
  info_.can_discard = facts_.can_zero;
  info_.volatile_cache = true;
  usable_ = facts_.can_share ? sessions_.size() : 1;
  opened_ = true;
  for (size_t i = 0; i < usable_; ++i) reactor_.spawn(keep_connected(i));
  co_return Result<void>();
}

/// What a service must be, at first and every time it is connected again.
Result<void> SessionDevice::accept(const SessionFacts& facts) const {
  const auto refuse = [&](std::string what) {
    return Error{Errc::invalid, fmt::format("{}: {}", options_.name, what)};
  };
  const uint64_t least =
      options_.head_bytes + std::max<uint64_t>(options_.expected_bytes, kBlockBytes);
  if (facts.size_bytes < least)
    return refuse(fmt::format("the export has {} bytes, at least {} are needed; make it larger",
                              facts.size_bytes, least));
  if (facts.size_bytes > INT64_MAX) return refuse("the export says it has more than 2^63 bytes");
  if (!std::has_single_bit(facts.alignment_bytes) || facts.alignment_bytes > kBlockBytes)
    return refuse(
        fmt::format("the server takes no requests below {} bytes; blocks here have {}: "
                    "use another server, or nbdkit's blocksize filter",
                    facts.alignment_bytes, kBlockBytes));
  if (facts.max_request_bytes != 0 && facts.max_request_bytes < kBlockBytes)
    return refuse(fmt::format("the server takes no requests above {} bytes; blocks here have {}",
                              facts.max_request_bytes, kBlockBytes));
  if (facts.read_only && !options_.read_only)
    return refuse("the export is read-only; a disk needs one that can be written");
  if (opened_ && facts.size_bytes < options_.head_bytes + info_.size_bytes)
    return refuse(
        fmt::format("the export shrank from {} to {} bytes; nothing is written to it "
                    "until it has its size again",
                    options_.head_bytes + info_.size_bytes, facts.size_bytes));
  if (opened_ &&
      (facts.alignment_bytes > info_.alignment_bytes || (facts_.can_zero && !facts.can_zero) ||
       (facts_.can_fua && !facts.can_fua) || (usable_ > 1 && !facts.can_share) ||
       (facts.max_request_bytes != 0 && facts.max_request_bytes < facts_.max_request_bytes)))
    return refuse(
        "the server can do less than when it was first connected (block sizes, zeroes, "
        "FUA or several connections); restart latte to go on with what it can do now");
  return {};
}

Task<void> SessionDevice::close() {
  closing_ = true;
  changed_.notify_all();
  const auto idle = [&] {
    return std::all_of(sessions_.begin(), sessions_.end(),
                       [](const auto& item) { return item->idle(); });
  };
  for (;;) {
    for (auto& item : sessions_) item->drop();
    if (busy_ == 0 && idle()) co_return;
    changed_.notify_all();
    co_await reactor_.sleep(kMillisecond);
  }
}

size_t SessionDevice::index_of(const Session* wanted) const {
  for (size_t i = 0; i < sessions_.size(); ++i)
    if (sessions_[i].get() == wanted) return i;
  LATTE_CHECK(false);
  return 0;
}

/// The session with the least under way, or null.
Session* SessionDevice::pick() {
  Session* best = nullptr;
  for (size_t i = 0; i < usable_; ++i) {
    Session* item = sessions_[i].get();
    if (item->up() && (best == nullptr || item->under_way() < best->under_way())) best = item;
  }
  return best;
}

/// A session that is up, after waiting for one attempt to connect; null if that failed.
Task<Session*> SessionDevice::session() {
  const uint64_t failed_before = attempts_failed_;
  for (;;) {
    if (closing_) co_return nullptr;
    if (Session* found = pick()) co_return found;
    if (attempts_failed_ != failed_before) co_return nullptr;
    co_await changed_.wait();
  }
}

Task<void> SessionDevice::keep_connected(size_t index) {
  const Busy busy(*this);
  Session& mine = *sessions_[index];
  TimeNs pause_ns = kFirstPauseNs;
  while (!closing_) {
    if (mine.up()) {
      co_await changed_.wait();
      continue;
    }
    auto connected = co_await mine.connect();
    if (closing_) break;
    Result<void> fits = connected ? accept(connected.value()) : named(connected.error());
    if (fits) {
      if (!trouble_.empty()) log_info("{}: connected again", options_.name);
      trouble_.clear();
      pause_ns = kFirstPauseNs;
      info_.size_bytes =
          round_down(connected.value().size_bytes, kBlockBytes) - options_.head_bytes;
      changed_.notify_all();
      continue;
    }
    if (mine.up()) mine.drop();
    if (trouble_ != fits.error().message) log_warning("{}", fits.error().message);
    trouble_ = fits.error().message;
    ++attempts_failed_;
    changed_.notify_all();
    co_await reactor_.sleep(pause_ns);
    pause_ns = std::min(2 * pause_ns, kMaxPauseNs);
  }
}

/// What the session carried since the last flush may be gone with the service.
void SessionDevice::on_lost(size_t index) {
  const uint64_t losses = sessions_[index]->losses();
  for (Write& write : writes_) {
    const bool carried = write.many_parts || (write.session == index && write.losses < losses);
    if (!carried) continue;
    if (write.state == Write::State::answered && !write.replay) {
      write.replay = true;
      ++replays_;
    } else if (write.state == Write::State::sending) {
      write.again = true;  // or its command is lost, which comes to the same
    }
  }
  spread_replay();
  changed_.notify_all();
  if (replaying_ || closing_ || !replay_pending(UINT64_MAX)) return;
  replaying_ = true;
  reactor_.spawn(replay_all());
}

/// What is younger and overlaps a replay must end up on top of it.
void SessionDevice::spread_replay() {
  if (planted(Planted::replay_out_of_order)) return;
  for (auto older = writes_.begin(); older != writes_.end(); ++older) {
    if (!older->replay) continue;
    for (auto younger = std::next(older); younger != writes_.end(); ++younger) {
      if (!younger->overlaps(older->offset, older->length)) continue;
      if (younger->state == Write::State::sending) {
        younger->again = true;
      } else if (!younger->replay) {
        younger->replay = true;
        ++replays_;
      }
    }
  }
}

Task<void> SessionDevice::replay_all() {
  const Busy busy(*this);
  for (uint64_t done = 0;;) {
    auto next = std::find_if(writes_.begin(), writes_.end(),
                             [](const Write& write) { return write.replay; });
    if (planted(Planted::replay_out_of_order)) {
      const auto last = std::find_if(writes_.rbegin(), writes_.rend(),
                                     [](const Write& write) { return write.replay; });
      next = last == writes_.rend() ? writes_.end() : std::prev(last.base());
    }
    if (next == writes_.end() || closing_) break;
    const IoStatus status = co_await put(next);
    if (status == IoStatus::ok) {
      // Sessions that break all the time would otherwise make all of it replays again, for ever.
      if (++done % kReplaysPerFlush == 0) co_await flush_once();
      continue;
    }
    if (fenced_ || closing_) break;
    if (older_replay(*next)) continue;
    co_await reactor_.sleep(kReplayPauseNs);
  }
  replaying_ = false;
  changed_.notify_all();
}

/// Lets go of what can be; no more than an attempt.
Task<void> SessionDevice::flush_once() {
  Session* found = pick();
  if (found == nullptr) co_return;
  const uint64_t sent_tick = ++tick_;
  SessionCommand command;
  command.op = IoOp::flush;
  const auto end = co_await found->run(command);
  if (end == SessionCommand::End::ok) (void)forget_flushed(0, sent_tick);
}

uint64_t SessionDevice::losses() const {
  uint64_t all = 0;
  for (const auto& item : sessions_) all += item->losses();
  return all;
}

uint64_t SessionDevice::replays_pending() const {
  return static_cast<uint64_t>(std::count_if(writes_.begin(), writes_.end(),
                                             [](const Write& write) { return write.replay; }));
}

}  // namespace latte
