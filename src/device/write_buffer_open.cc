// WriteBuffer, its beginning and its end: the mark is read; the memory it names is written to the
// device; a new memory is marked, durably, before it is used.
#include <fmt/format.h>

#include "base/logging.h"
#include "base/planted.h"
#include "device/write_buffer.h"
#include "device/write_buffer_mark.h"

namespace latte {

Task<Result<void>> WriteBuffer::recover(Access access) {
  LATTE_CHECK(!ring_);
  read_only_ = access == Access::read_only;
  const auto mark = co_await read_buffer_mark(below_);
  if (!mark) co_return mark.error();
  if (mark.value()) mark_ = *mark.value();
  if (mark_.state == BufferState::in_use) co_return co_await take_over_memory();
  co_return Result<void>();
}

Task<Result<void>> WriteBuffer::begin(uint64_t size_bytes) {
  LATTE_CHECK(!read_only_);
  LATTE_CHECK(size_bytes == 0 || size_bytes >= BufferRing::kMinBytes);
  if (ring_ && size_bytes != 0) co_return Result<void>();
  ring_.reset();
  if (mark_.state == BufferState::in_use) {
    const auto marked = co_await mark_clean();
    if (!marked) co_return marked.error();
  }
  if (size_bytes == 0) co_return Result<void>();
  if (reactor_.boot_id() == 0)
    co_return Error{Errc::unsupported,
                    fmt::format("{}: a write buffer needs to know whether the machine was "
                                "restarted: mount /proc (/proc/sys/kernel/random/boot_id), or turn "
                                "the buffer off: pool.write_buffer = 0",
                                info().name)};
  co_return co_await use_new_memory(size_bytes);
}

/// Makes the memory that the mark names ours, if it is there, and empties it.
Task<Result<void>> WriteBuffer::take_over_memory() {
  const Uuid id = mark_.buffer_id;
  const std::string where = memory_.name(id);
  const uint64_t boot_id = reactor_.boot_id();
  if (boot_id != 0 && mark_.boot_id != boot_id) {
    // What the power took was not flushed; what is in such a memory all the same is not to be
    // trusted.
    log_warning(
        "{}: the machine was restarted (or is another one) since its write buffer {} was "
        "in use: acknowledged writes that were not flushed may be missing",
        info().name, where);
    co_return Result<void>();
  }
  auto opened = memory_.open(id);
  // Not "not found": the pool is there, and nobody is to make a new one.
  if (!opened)
    co_return Error{
        Errc::busy,
        fmt::format("{}: its write buffer may hold acknowledged writes and can't be had: {}. "
                    "Start the server where that memory is (the same container or /dev/shm). If it "
                    "is gone for good, restart the machine: then the pool opens as after a loss of "
                    "power, with all that was flushed; or take the disks over with a new pool",
                    info().name, opened.error().message)};
  auto parsed = BufferRing::parse(opened.value(), id, info().size_bytes, where);
  if (!parsed)
    co_return Error{parsed.error().code,
                    fmt::format("{}: {}. Restart the machine: then the pool opens as after a loss "
                                "of power, with all that was flushed",
                                info().name, parsed.error().message)};
  ring_ = parsed.take();
  if (read_only_) co_return Result<void>();
  co_return co_await replay();
}

Task<Result<void>> WriteBuffer::replay() {
  uint64_t bytes = 0;
  const uint64_t end = ring_->end_seq();
  for (uint64_t seq = ring_->first_seq(); seq < end; ++seq) {
    BufferRing::Write& write = ring_->at(seq);
    if (write.state == BufferRing::Write::State::done) continue;
    if (!planted(Planted::skip_buffer_replay)) {
      const IoStatus status = co_await below_.write(write.offset, ring_->data(write));
      if (status != IoStatus::ok)
        co_return Error{Errc::io,
                        fmt::format("{}: writing what its write buffer held failed at "
                                    "offset {}: {}; mend the drive and start again, or "
                                    "take its disks over with a new pool (latte takeover)",
                                    info().name, write.offset, to_string(status))};
    }
    bytes += write.length;
    ring_->set_done(seq);
  }
  next_to_write_ = end;
  if (bytes > 0) log_info("{}: {} bytes of its write buffer were written", info().name, bytes);
  co_return Result<void>();
}

/// A new memory; used only once the mark names it durably.
Task<Result<void>> WriteBuffer::use_new_memory(uint64_t size_bytes) {
  mark_.buffer_id = Uuid::from_random(reactor_.random().next(), reactor_.random().next());
  const auto created = memory_.create(mark_.buffer_id, size_bytes);
  if (!created)
    co_return Error{created.error().code, fmt::format("{}: write buffer: {}; or turn it off: "
                                                      "pool.write_buffer = 0",
                                                      info().name, created.error().message)};
  BufferRing fresh = BufferRing::format(created.value(), mark_.buffer_id);
  mark_.state = BufferState::in_use;
  mark_.boot_id = reactor_.boot_id();
  // If this fails half way, the mark may name the memory already: it stays for the next start.
  const auto marked = co_await write_buffer_mark(below_, mark_);
  if (!marked) co_return marked.error();
  ring_ = std::move(fresh);
  co_return Result<void>();
}

/// What was in the memory becomes durable, then the mark says so, then the memory goes.
Task<Result<void>> WriteBuffer::mark_clean() {
  const IoStatus status = co_await below_.flush();
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("{}: flush failed: {}", info().name, to_string(status))};
  mark_.state = BufferState::clean;
  const auto marked = co_await write_buffer_mark(below_, mark_);
  if (!marked) co_return marked.error();
  memory_.remove(mark_.buffer_id);
  co_return Result<void>();
}

Task<Result<void>> WriteBuffer::close() {
  if (!ring_) co_return Result<void>();
  const IoStatus status = co_await wait_written(ring_->end_seq());
  if (status != IoStatus::ok)
    co_return Error{Errc::io,
                    fmt::format("{}: writing its write buffer failed: {}; {} stays for "
                                "the next start",
                                info().name, to_string(status), memory_.name(mark_.buffer_id))};
  const auto marked = co_await mark_clean();
  if (!marked) co_return marked.error();
  ring_.reset();
  co_return Result<void>();
}

}  // namespace latte
