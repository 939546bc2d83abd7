#include "machine.h"

#include <algorithm>

namespace latte::simtest {

namespace {
/// A start-up that meets a cloud that is away tries again, as a supervisor would: for a minute in
/// all.
constexpr int kMaxTries = 300;
constexpr TimeNs kRetryNs = 200 * kMillisecond;
}  // namespace

Result<std::span<std::byte>> SimBufferMemory::open(const Uuid& id) {
  const auto found = buffers_.find(id);
  if (found == buffers_.end()) return Error{Errc::not_found, name(id) + " is gone"};
  return found->second.span();
}

Result<std::span<std::byte>> SimBufferMemory::create(const Uuid& id, size_t bytes) {
  Buffer& buffer = buffers_[id] = Buffer(bytes);
  std::fill(buffer.span().begin(), buffer.span().end(), std::byte{0});
  return buffer.span();
}

Machine::~Machine() {
  if (running()) kill(false);
}

void Machine::replace_drive(sim::DriveOptions options, PoolOptions pool) {
  LATTE_CHECK(!running());
  drive_ = std::make_unique<sim::SimDrive>(world_, std::move(options));
  pool_options_ = pool;
  formatted_ = false;
  suspect = false;
}

bool Machine::tail_damaged() const {
  const auto& damages = drive_->damages();
  return std::any_of(damages.begin(), damages.end(), [](const sim::Damage& damage) {
    return damage.kind != sim::DamageKind::corrupt;
  });
}

Session* Machine::find_session(const DiskSim& disk) {
  for (auto& session : sessions_)
    if (&session->disk == &disk) return session.get();
  return nullptr;
}

void Machine::start(TimeNs clock_offset_ns) {
  LATTE_CHECK(!running() && has_drive());
  world_.trace("{}: process starts", name_);
  reactor_ = std::make_unique<sim::SimReactor>(world_, name_, clock_offset_ns);
  reactor_->set_boot_id(boots_);
  drive_->connect(*reactor_);
  buffer_ = std::make_unique<WriteBuffer>(*reactor_, *drive_, buffer_memory_);
  host_ = std::make_unique<Host>(*reactor_, *buffer_, admission_);
  pool_opened_ = std::make_unique<WaitQueue>(*reactor_);
  pool_ready_ = false;
  pool_error_.reset();
  reactor_->spawn(open_pool());
}

Task<void> Machine::open_pool() {
  if (!formatted_) {
    const Result<void> made = co_await Host::format_pool(*reactor_, *drive_, pool_options_);
    // A crash in the middle of formatting may leave a pool or none; both are fine to meet again.
    if (!made.ok() && made.error().code != Errc::exists) pool_error_ = made.error();
    formatted_ = made.ok();
  }
  Result<void> opened = co_await buffer_->recover(WriteBuffer::Access::read_write);
  if (opened.ok()) opened = co_await host_->open_pool();
  if (opened.ok()) opened = co_await buffer_->begin(write_buffer_bytes_);
  if (!opened.ok()) pool_error_ = opened.error();
  formatted_ |= opened.ok();
  pool_ready_ = true;
  pool_opened_->notify_all();
}

void Machine::attach(std::vector<BootItem> items, uint32_t& next_session) {
  std::vector<Session*> fresh;
  for (const BootItem& item : items) {
    LATTE_CHECK(find_session(*item.disk) == nullptr);
    sessions_.push_back(std::make_unique<Session>(next_session++, *item.disk, *this, *reactor_));
    fresh.push_back(sessions_.back().get());
  }
  reactor_->spawn(boot(std::move(items), std::move(fresh)));
}

Task<void> Machine::boot(std::vector<BootItem> items, std::vector<Session*> sessions) {
  while (!pool_ready_) co_await pool_opened_->wait();
  for (size_t i = 0; i < items.size(); ++i) {
    Session* session = sessions[i];
    if (pool_error_.has_value())
      session->error = pool_error_;
    else
      session->error = co_await bring_up(items[i], session);
    if (session->error.has_value())
      world_.trace("{}: {} not attached: {}", name_, session->disk.options.name,
                   session->error->message);
    session->ready = true;
  }
}

Task<std::optional<Error>> Machine::bring_up(BootItem item, Session* session) {
  const DiskOptions& options = session->disk.options;
  std::optional<Error> last;
  for (int attempt = 0; attempt < kMaxTries; ++attempt) {
    if (attempt > 0) co_await reactor_->sleep(kRetryNs);
    last.reset();
    if (item.create) {
      const Result<void> made = co_await Host::format_cloud(*reactor_, session->volume, options,
                                                            session->disk.cloud_options);
      if (!made.ok() && made.error().code != Errc::exists) {
        last = made.error();
        continue;
      }
      const Result<void> adopted = co_await host_->adopt_new(options, session->volume);
      if (!adopted.ok()) last = adopted.error();
    } else if (item.take_over) {
      std::string report;
      const Result<void> taken = co_await host_->take_over(options, session->volume, &report);
      if (!taken.ok()) last = taken.error();
      // An owner that is alive keeps its lease, unless somebody insists.
      if (!taken.ok() && taken.error().code == Errc::busy) session->volume.force_unfenced();
      world_.trace("{}: take-over of {}: {}", name_, options.name,
                   taken.ok() ? report : taken.error().message);
    }
    if (!last.has_value()) {
      item.create = item.take_over = false;
      const Result<HybridDisk*> attached = co_await host_->attach(options, session->volume);
      if (attached.ok()) {
        session->device = attached.value();
        co_return std::nullopt;
      }
      last = attached.error();
    }
    if (last->code != Errc::io && last->code != Errc::busy) break;
    world_.trace("{}: {}: tries again: {}", name_, options.name, last->message);
  }
  co_return last;
}

bool Machine::all_ready() const {
  return std::all_of(sessions_.begin(), sessions_.end(),
                     [](const auto& session) { return session->ready; });
}

Task<bool> Machine::close_buffer() {
  const Result<void> closed = co_await buffer_->close();
  if (!closed.ok()) world_.trace("{}: {}", name_, closed.error().message);
  co_return closed.ok();
}

void Machine::kill(bool power) {
  LATTE_CHECK(running());
  world_.trace("{}: {}", name_, power ? "loses power" : "process dies");
  if (power) {
    ++boots_;
    drive_->power_loss();
    buffer_memory_.power_loss();
  } else {
    drive_->process_death();
  }
  for (auto& session : sessions_) session->volume.process_death();
  reactor_->destroy_tasks();
  host_.reset();
  buffer_.reset();
  for (auto& session : sessions_)
    if (session->disk.session == session.get()) session->disk.session = nullptr;
  sessions_.clear();
  pool_opened_.reset();
  reactor_.reset();
}

}  // namespace latte::simtest
