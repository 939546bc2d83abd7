#include "device/leased_volume.h"

#include <fmt/core.h>

#include <cstring>

#include "base/check.h"

namespace latte {
namespace {

/// A request refused in passing must not end a start.
constexpr int kTries = 4;

}  // namespace

LeasedVolume::LeasedVolume(Reactor& reactor, Options options, std::unique_ptr<SessionDevice> base,
                           std::unique_ptr<SessionDevice> log)
    : reactor_(reactor),
      options_(std::move(options)),
      base_(std::move(base)),
      log_(std::move(log)),
      lease_(reactor, *log_,
             Lease::Options{options_.name, options_.lease_ns, options_.holder,
                            options_.force_unfenced}),
      acquired_(reactor) {
  base_->set_guard(*this);
  log_->set_guard(*this);
  lease_.on_claimed_anew([this] { return check_generation(); });
}

Task<IoStatus> LeasedVolume::confirm() {
  while (acquiring_) co_await acquired_.wait();
  if (!lease_.held() && !lease_.lost()) {
    acquiring_ = true;
    const auto vacant = co_await read_head();
    Result<void> taken;
    if (!vacant && vacant.error().code == Errc::not_found) taken = co_await lease_.acquire(0);
    acquiring_ = false;
    acquired_.notify_all();
    if (!vacant && vacant.error().code == Errc::io) co_return IoStatus::io_error;
    if (!taken) co_return IoStatus::io_error;
  }
  const IoStatus status = co_await lease_.confirm();
  if (status != IoStatus::ok || lease_.claims() == claims_checked_) co_return status;
  co_return co_await check_generation();
}

/// The lease was claimed (anew): whoever had it meanwhile may have made the volume another's.
Task<IoStatus> LeasedVolume::check_generation() {
  const uint64_t claims = lease_.claims();
  const uint64_t own = generation_;
  const uint64_t next = next_generation_;
  const auto found = co_await read_head();
  if (!found && found.error().code != Errc::not_found) co_return IoStatus::io_error;
  // Swapped meanwhile: what was read may be of before.
  if (own != generation_ || next != next_generation_) co_return IoStatus::io_error;
  const uint64_t stored = found ? found.value().generation : 0;
  if (stored != own && stored != next) {
    lease_.lose();
    co_return IoStatus::fenced;
  }
  claims_checked_ = claims;
  co_return IoStatus::ok;
}

Task<Result<void>> LeasedVolume::open() {
  Result<void> opened = co_await log_->open();
  if (opened) opened = co_await base_->open();
  co_return opened;
}

Task<Result<void>> LeasedVolume::release() {
  const IoStatus status = co_await lease_.release();
  if (status != IoStatus::ok)
    co_return io_error("the lease can't be released; it runs out by itself", status);
  co_return Result<void>();
}

Task<void> LeasedVolume::close() {
  (void)co_await lease_.release();
  co_await base_->close();
  co_await log_->close();
  co_await lease_.finish();
}

Error LeasedVolume::io_error(const char* what, IoStatus status) const {
  return Error{Errc::io, fmt::format("{}: {}: {}{}{}; try again when the server answers",
                                     options_.name, what, to_string(status),
                                     log_->trouble().empty() ? "" : ": ", log_->trouble())};
}

Task<Result<LeasedSuper>> LeasedVolume::read_head() {
  auto head = std::make_unique<HeadBytes>();
  const IoStatus status = co_await log_->read_head(0, *head);
  if (status != IoStatus::ok) co_return io_error("the superblock can't be read", status);
  co_return parse_head_super(*head, options_.name);
}

Task<Result<SuperBytes>> LeasedVolume::read_super() {
  const auto found = co_await read_head();
  if (!found) co_return found.error();
  co_return found.value().bytes;
}

/// The superblock there is, if its generation is the one; a volume without one counts as 0.
Task<Result<LeasedSuper>> LeasedVolume::expect(uint64_t generation) {
  auto found = co_await read_head();
  if (!found && found.error().code != Errc::not_found) co_return found.error();
  const LeasedSuper current = found ? found.value() : LeasedSuper{};
  if (current.generation != generation)
    co_return Error{Errc::busy,
                    fmt::format("{}: the superblock has generation {}, expected was {}: another "
                                "owner was first; read it again",
                                options_.name, current.generation, generation)};
  co_return current;
}

Task<Result<void>> LeasedVolume::write_super(const LeasedSuper& super) {
  const SlotBytes slot = seal_super(super);
  const uint64_t offset = (super.counter % 2) * kSuperSlotBytes;
  IoStatus written = IoStatus::io_error;
  // The same bytes again: it makes no difference which of them lands last.
  for (int tries = 0; written == IoStatus::io_error && tries < kTries; ++tries)
    written = co_await log_->write_head(offset, slot, lease_.valid_until_ns());
  if (written == IoStatus::ok) co_return Result<void>();
  // It may still land; a later one in the same slot must not be overtaken by it.
  co_await reactor_.sleep(options_.lease_ns / 2);
  co_return io_error("the superblock can't be written", written);
}

Error LeasedVolume::lost_lease() const {
  return Error{Errc::busy, fmt::format("{}: another host has the lease", options_.name)};
}

Task<Result<void>> LeasedVolume::take_lease(uint64_t generation) {
  if (lease_.lost()) co_return lost_lease();
  const Result<void> taken = co_await lease_.acquire(generation);
  if (!taken) co_return taken;
  // What the last owner wrote and did not flush is taken for what there is from now on.
  for (SessionDevice* device : {log_.get(), base_.get()}) {
    IoStatus flushed = IoStatus::io_error;
    for (int tries = 0; flushed == IoStatus::io_error && tries < kTries; ++tries)
      flushed = co_await device->flush();
    if (flushed != IoStatus::ok) co_return io_error("it can't be flushed", flushed);
  }
  co_return Result<void>();
}

Task<Result<void>> LeasedVolume::swap_super(uint64_t expected_generation, uint64_t next_generation,
                                            const SuperBytes& next) {
  const bool had_lease = lease_.held();
  const Result<void> swapped = co_await swap_leased(expected_generation, next_generation, next);
  // Another was first: he need not think that this host is an owner who is alive.
  const bool too_late = !swapped && swapped.error().code == Errc::busy;
  if (too_late && !had_lease) (void)co_await lease_.release();
  co_return swapped;
}

Task<Result<void>> LeasedVolume::swap_leased(uint64_t expected_generation, uint64_t next_generation,
                                             const SuperBytes& next) {
  LATTE_CHECK(next_generation >= expected_generation);
  LeasedSuper super;
  super.generation = next_generation;
  super.bytes = next;
  if (options_.read_only)
    co_return Error{Errc::invalid, fmt::format("{} was opened for reading only", options_.name)};
  auto current = co_await expect(expected_generation);
  if (!current) co_return current.error();
  generation_ = expected_generation;
  next_generation_ = next_generation;
  if (!lease_.held()) {
    const Result<void> taken = co_await take_lease(next_generation);
    if (!taken) co_return taken;
  }
  // Somebody else may have become the owner before the lease was free, or while it had run out.
  for (uint64_t claims = 0; claims != lease_.claims();) {
    claims = lease_.claims();
    current = co_await expect(expected_generation);
    if (!current) co_return current.error();
    const IoStatus before = co_await lease_.confirm();
    if (before == IoStatus::fenced) co_return lost_lease();
    if (before != IoStatus::ok) co_return io_error("the lease can't be confirmed", before);
  }
  claims_checked_ = lease_.claims();
  super.counter = current.value().counter + 1;
  const Result<void> written = co_await write_super(super);
  if (!written) co_return written;
  const auto stored = co_await read_head();
  if (!stored) co_return stored.error();
  const bool same = stored.value().generation == next_generation &&
                    stored.value().counter == super.counter && stored.value().bytes == super.bytes;
  const IoStatus after = co_await lease_.confirm();
  if (after == IoStatus::io_error) co_return io_error("the lease can't be confirmed", after);
  if (after != IoStatus::ok || !same)
    co_return Error{Errc::busy,
                    fmt::format("{}: another host wrote the superblock at the same time; read it "
                                "again",
                                options_.name)};
  generation_ = next_generation;
  const IoStatus told = co_await lease_.set_generation(next_generation);
  if (told != IoStatus::ok) co_return io_error("the lease can't be written", told);
  co_return Result<void>();
}

}  // namespace latte
