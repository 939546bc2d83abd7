// SessionDevice: a BlockDevice over sessions that can break at any time. What was not answered is
// sent again through another session, and so is what was answered but not yet flushed, because a
// service that died may have had it in its memory only.
//
// Invariants, with the reasons in docs/internals/nbd-volume.md:
//  1. Every write's bytes are kept, copied, until a flush covers it. A session that breaks makes
//  the
//     writes it carried since then *replays*: they are sent again, in their order.
//  2. A write never overtakes an older overlapping replay, and a younger write that overlaps a
//     replay is replayed behind it, even if its own session lives: the newest bytes end up on top.
//     Reads of such a range wait.
//  3. A flush succeeds only if no write that had completed before it became a replay meanwhile.
//  4. A write that was lost unanswered may still take effect late. For `landing_ns` no younger
//  write
//     is sent to its range.
//  5. Nothing is sent to change the service unless the guard's confirmation holds at that instant.
// Thread rule: one reactor. Limits: max_unflushed_bytes of copies, beyond them writes wait for a
// flush; requests of any length are cut to what the service takes.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "device/session.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"
#include "runtime/task.h"

namespace latte {

/// Says whether this process may write at all.
class WriteGuard {
 public:
  /// Asks anew. ok, fenced (never again), io_error (can't be known now).
  virtual Task<IoStatus> confirm() = 0;
  /// True while the last confirmation still holds.
  virtual bool holds() const = 0;

 protected:
  ~WriteGuard() = default;
};

class SessionDevice final : public BlockDevice {
 public:
  struct Options {
    std::string name;             ///< for logs and errors
    uint64_t head_bytes = 0;      ///< kept from the device's face; read_head(), write_head()
    uint64_t expected_bytes = 0;  ///< least size of the face; 0: any
    bool read_only = false;
    TimeNs landing_ns = 2 * kSecond;  ///< a request sent takes effect within this or never
    uint64_t max_unflushed_bytes = 64u << 20;
  };

  SessionDevice(Reactor& reactor, Options options, std::vector<std::unique_ptr<Session>> sessions);
  ~SessionDevice() override;

  /// Connects. Errors: of Session::connect(), invalid (size, block size, read-only, no flush).
  Task<Result<void>> open();
  /// Ends the connections; what is under way ends with `stopped`. Nothing may be submitted any
  /// more.
  Task<void> close();
  /// From now on writes ask `guard` first. It outlives the device's use.
  void set_guard(WriteGuard& guard) { guard_ = &guard; }
  const DeviceInfo& info() const override { return info_; }
  bool submit(IoRequest& request) override;

  /// Reads or writes the head, past guard and replay. A write is not sent after `send_before_ns`,
  /// and is durable when it returned ok. Errors: io_error, stopped.
  Task<IoStatus> read_head(uint64_t offset, std::span<std::byte> data);
  Task<IoStatus> write_head(uint64_t offset, std::span<const std::byte> data,
                            TimeNs send_before_ns);

  const SessionFacts& facts() const { return facts_; }
  /// Sessions that broke so far, of all together.
  uint64_t losses() const;
  /// Writes that are to be sent again now, and how many were so far.
  uint64_t replays_pending() const;
  uint64_t replays() const { return replays_; }
  uint64_t unflushed_bytes() const { return unflushed_bytes_; }
  /// Why the last attempt to connect failed; empty once connected.
  const std::string& trouble() const { return trouble_; }

 private:
  struct Write {
    uint64_t order = 0;
    uint64_t offset = 0;
    uint64_t length = 0;
    Buffer data;  // empty: zeroes
    bool fua = false;
    enum class State : uint8_t { sending, answered } state = State::sending;
    bool replay = false;      // was answered and must be sent again
    bool again = false;       // under way, and must be sent again when it is answered
    bool many_parts = false;  // may have gone through several sessions
    size_t session = 0;       // that carries or carried it
    uint64_t losses = 0;      // of that session when it was sent
    uint64_t answered_tick = 0;
    bool overlaps(uint64_t at, uint64_t bytes) const {
      return offset < at + bytes && at < offset + length;
    }
  };
  using Place = std::list<Write>::iterator;
  struct Late {  // a lost request that may still take effect
    uint64_t offset;
    uint64_t length;
    uint64_t order;
    TimeNs until_ns;
  };
  struct Watcher final : SessionObserver {
    SessionDevice* device = nullptr;
    size_t index = 0;
    void on_session_lost() override { device->on_lost(index); }
  };
  /// Counts what runs, also when its coroutine is destroyed half way.
  struct Busy {
    SessionDevice& device;
    explicit Busy(SessionDevice& owner) : device(owner) { ++device.busy_; }
    ~Busy() { device.leave(); }
  };
  void leave();

  Task<void> run_read(IoRequest& request);
  Task<void> run_write(IoRequest& request);
  Task<void> run_flush(IoRequest& request);
  Task<IoStatus> await_replays(uint64_t offset, uint64_t length);
  Task<IoStatus> read_parts(uint64_t offset, std::span<std::byte> data);
  Task<IoStatus> put(Place write);
  Task<IoStatus> put_part(Place write, uint64_t at, uint64_t length, bool* restart);
  Task<IoStatus> clear_way(Place write);
  bool older_replay(const Write& write);
  TimeNs late_until(const Write& write);
  Task<IoStatus> flush_writes();
  bool forget_flushed(uint64_t up_to_order, uint64_t sent_tick);
  bool replay_pending(uint64_t up_to_order) const;
  uint64_t part_bytes(const Write& write) const;

  // session_links.cc: sessions coming and going
  Error named(const Error& error) const;
  Result<void> accept(const SessionFacts& facts) const;
  void on_lost(size_t index);
  void spread_replay();
  Task<void> keep_connected(size_t index);
  Task<void> replay_all();
  Task<void> flush_once();
  Session* pick();
  Task<Session*> session();
  size_t index_of(const Session* session) const;

  Reactor& reactor_;
  const Options options_;
  DeviceInfo info_;
  SessionFacts facts_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<Watcher> watchers_;
  size_t usable_ = 1;  // sessions in use
  WriteGuard* guard_ = nullptr;

  std::list<Write> writes_;  // under way or not flushed, in the order of their submission
  std::vector<Late> late_;
  uint64_t next_order_ = 1;
  uint64_t tick_ = 0;
  uint64_t unflushed_bytes_ = 0;
  uint64_t replays_ = 0;
  bool replaying_ = false;
  bool fenced_ = false;
  bool closing_ = false;
  bool opened_ = false;
  uint64_t busy_ = 0;
  uint64_t attempts_failed_ = 0;
  std::string trouble_;
  WaitQueue changed_;  // a session came or went, an attempt failed, a replay ended, close()
};

}  // namespace latte
