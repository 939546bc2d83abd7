#include "sim/sim_cloud.h"

#include <algorithm>
#include <cstring>

#include "sim/sim_session.h"

namespace latte::sim {

namespace {
DeviceInfo port_info(std::string name, uint64_t size_bytes) {
  DeviceInfo info;
  info.name = std::move(name);
  info.size_bytes = size_bytes;
  info.alignment_bytes = kSectorBytes;
  info.can_fua = false;
  info.can_discard = true;
  info.volatile_cache = true;
  return info;
}
/// Of everything that is not flushed, with a lease.
constexpr uint32_t kSharedOwner = 1;

bool is_write(const IoRequest& request) {
  return request.op != IoOp::read && request.op != IoOp::flush;
}
}  // namespace

SimCloud::SimCloud(World& world, SimCloudOptions options)
    : world_(world),
      options_(options),
      base_(options.base_bytes),
      log_(options.log_bytes),
      head_(kLeasedHeadBytes) {}

SimCloud::~SimCloud() {
  LATTE_CHECK(handles_.empty());
  world_.forget(*this);
}

void SimCloud::begin_outage(Outage kind, TimeNs until_ns) {
  LATTE_CHECK(kind != Outage::none && until_ns > world_.now());
  outage_ = kind;
  outage_until_ns_ = until_ns;
  world_.trace("{}: outage ({}) for {} ms", options_.name,
               kind == Outage::hang ? "hangs" : "errors", (until_ns - world_.now()) / kMillisecond);
}

bool SimCloud::swap(SimCloudVolume& handle, uint64_t expected, uint64_t next,
                    const SuperBytes& bytes) {
  // The owner may replace its own, such as with another size.
  LATTE_CHECK(!leased() && (next > expected || handle.generation_ == expected));
  if (generation_ != expected) return false;
  super_ = bytes;
  if (next == expected) return true;
  // Whether or not the answer reaches the new owner.
  generation_ = handle.generation_ = next;
  fenced_at_ns_ = world_.now();
  fenced_at_version_[0] = base_.version();
  fenced_at_version_[1] = log_.version();
  has_super_ = true;
  world_.trace("{}: generation {} -> {}", options_.name, expected, next);
  for (SimCloudVolume* other : handles_)
    if (other != &handle) other->lose_cache();
  return true;
}

void SimCloud::restore(const SimSnapshot& from, uint64_t generation) {
  for (size_t page = 0; page < from.base.size(); ++page) base_.restore(page, from.base[page]);
  for (size_t page = 0; page < from.log.size(); ++page) log_.restore(page, from.log[page]);
  super_ = from.super;
  has_super_ = true;
  generation_ = generation;
}

void SimCloud::restart() {
  LATTE_CHECK(leased());
  world_.trace("{}: restarts", options_.name);
  for (SimCloudVolume* handle : handles_)
    for (SimSession* session : handle->sessions_) session->drop();
  for (PageStore* store : {&head_, &base_, &log_}) store->lose_cache(kSharedOwner, world_.random());
}

void SimCloud::send_late(PageStore& store, uint64_t generation, const IoRequest& request,
                         TimeNs at) {
  LateWrite late{&store, generation, request.offset, request.length, {}};
  if (request.op == IoOp::write) {
    late.data.resize(request.length);
    std::byte* to = late.data.data();
    for (const iovec& vector : data_of(request)) {
      std::memcpy(to, vector.iov_base, vector.iov_len);
      to += vector.iov_len;
    }
  }
  late_.emplace(next_late_, std::move(late));
  // A lease relies on writes that land within half its duration.
  if (leased()) at = std::min(at, world_.now() + options_.lease_ns / 4);
  world_.post(std::max(at, world_.now()), *this, next_late_++);
}

void SimCloud::on_event(uint64_t token) {
  const auto found = late_.find(token);
  LATTE_CHECK(found != late_.end());
  LateWrite& late = found->second;
  if (late.generation < generation_ && !options_.no_blocklist && !leased()) {
    ++fenced_writes_;
  } else {
    iovec vector{late.data.data(), late.data.size()};
    PageStore::Mode mode;
    mode.durable = true;
    late.store->write(late.offset, late.length, {&vector, late.data.empty() ? 0u : 1u}, mode);
    world_.trace("{}: late write of a dead process, offset {} length {}", options_.name,
                 late.offset, late.length);
  }
  late_.erase(found);
}

CloudPort::CloudPort(SimCloudVolume& volume, PageStore& store, std::string name)
    : SimPort(volume.cloud_.world_, port_info(std::move(name), store.size_bytes())),
      volume_(volume),
      store_(store) {}

SimPort::Plan CloudPort::plan(const IoRequest& request) {
  SimCloud& cloud = volume_.cloud_;
  const bool moves_data = request.op == IoOp::read || request.op == IoOp::write;
  Plan planned;
  const SimCloudOptions& options = cloud.options_;
  planned.complete_at =
      options.timing
          ? modelled_end(*options.timing, request, world_.now())
          : cloud.pipe_.pass(options.latency, world_.now(), moves_data ? request.length : 0,
                             request.op == IoOp::flush, world_.random());
  planned.early = request.op != IoOp::flush && world_.random().chance(1, 4);
  if (cloud.faults_.slow != 0 && world_.random().below(1'000'000) < cloud.faults_.slow)
    planned.complete_at += cloud.faults_.slow_ns;
  return planned;
}

TimeNs CloudPort::postponed_until() {
  const SimCloud& cloud = volume_.cloud_;
  if (!cloud.out() || cloud.outage_ != Outage::hang) return 0;
  // Spread the returns, as a real service would.
  return cloud.outage_until_ns_ + static_cast<TimeNs>(world_.random().below(5 * kMillisecond));
}

void CloudPort::put(const IoRequest& request, Random* tear) {
  PageStore::Mode mode;
  mode.owner = volume_.owner_;
  mode.tear = tear;
  store_.write(request.offset, request.length, data_of(request), mode);
}

/// Whether the fence keeps it out; `mark` tells when it was submitted.
bool CloudPort::refused(uint64_t mark) const {
  const SimCloud& cloud = volume_.cloud_;
  if (!volume_.refused()) return false;
  const bool under_way = mark <= cloud.fenced_at_version_[&store_ == &cloud.base_ ? 0 : 1];
  return !(under_way && cloud.options_.no_blocklist);
}

IoStatus CloudPort::execute(IoRequest& request, uint64_t mark) {
  SimCloud& cloud = volume_.cloud_;
  if (cloud.out()) return IoStatus::io_error;
  if (request.op != IoOp::read && refused(mark)) {
    ++cloud.fenced_writes_;
    return IoStatus::fenced;
  }
  if (cloud.faults_.error != 0 && world_.random().below(1'000'000) < cloud.faults_.error) {
    const uint64_t outcome = world_.random().below(3);
    if (is_write(request) && outcome != 0) put(request, outcome == 1 ? nullptr : &world_.random());
    return IoStatus::io_error;
  }
  switch (request.op) {
    case IoOp::read:
      store_.read(request.offset, {request.iov, request.iov_count});
      break;
    case IoOp::flush:
      store_.flush(volume_.owner_, mark);
      break;
    case IoOp::write:
    case IoOp::discard:
    case IoOp::write_zeroes:
      put(request, nullptr);
      break;
  }
  return IoStatus::ok;
}

void CloudPort::process_death() {
  drop_requests([&](const IoRequest& request, TimeNs complete_at) {
    if (!is_write(request) || volume_.refused()) return;
    switch (world_.random().below(3)) {
      case 0:
        break;
      case 1:
        put(request, &world_.random());
        break;
      default: {
        const TimeNs at = complete_at == kNever ? world_.now() : complete_at;
        volume_.cloud_.send_late(store_, volume_.generation_, request, at);
        break;
      }
    }
  });
}

CloudSuperPort::CloudSuperPort(SimCloudVolume& volume)
    : SimPort(volume.cloud_.world_, port_info(volume.cloud_.options_.name + "/super", kBlockBytes)),
      volume_(volume) {}

SimPort::Plan CloudSuperPort::plan(const IoRequest&) {
  SimCloud& cloud = volume_.cloud_;
  Plan planned;
  planned.complete_at =
      cloud.pipe_.pass(cloud.options_.latency, world_.now(), kBlockBytes, false, world_.random());
  planned.early = world_.random().chance(1, 4);
  return planned;
}

TimeNs CloudSuperPort::postponed_until() {
  const SimCloud& cloud = volume_.cloud_;
  return cloud.out() && cloud.outage_ == Outage::hang ? cloud.outage_until_ns_ : 0;
}

IoStatus CloudSuperPort::execute(IoRequest& request, uint64_t) {
  SimCloud& cloud = volume_.cloud_;
  if (cloud.out()) return IoStatus::io_error;
  const bool fails =
      cloud.faults_.error != 0 && world_.random().below(1'000'000) < cloud.faults_.error;
  if (request.op == IoOp::read) {
    if (fails) return IoStatus::io_error;
    auto& out = *static_cast<SuperBytes*>(request.iov->iov_base);
    out = cloud.super_;
    return IoStatus::ok;
  }
  auto& swap = *static_cast<Swap*>(request.iov->iov_base);
  if (fails && world_.random().chance(1, 2)) return IoStatus::io_error;
  swap.busy = !cloud.swap(volume_, swap.expected, swap.next, *swap.bytes);
  return fails && !swap.busy ? IoStatus::io_error : IoStatus::ok;
}

void CloudSuperPort::process_death() {
  drop_requests([&](IoRequest& request, TimeNs) {
    if (request.op == IoOp::read || world_.random().chance(1, 2)) return;
    auto& swap = *static_cast<Swap*>(request.iov->iov_base);
    (void)volume_.cloud_.swap(volume_, swap.expected, swap.next, *swap.bytes);
  });
}

SimCloudVolume::SimCloudVolume(SimCloud& cloud, SimReactor& reactor)
    : cloud_(cloud),
      owner_(cloud.leased() ? kSharedOwner : cloud.next_owner_++),
      base_(*this, cloud.base_, cloud.options_.name + "/base@" + reactor.name()),
      log_(*this, cloud.log_, cloud.options_.name + "/log@" + reactor.name()),
      super_(*this),
      snapshots_(*this, reactor) {
  base_.connect(reactor);
  log_.connect(reactor);
  super_.connect(reactor);
  cloud_.handles_.push_back(this);
  if (cloud_.leased()) make_leased(reactor);
}

SimCloudVolume::~SimCloudVolume() { std::erase(cloud_.handles_, this); }

BlockDevice& SimCloudVolume::base() {
  if (leased_) return leased_->base();
  return base_;
}

BlockDevice& SimCloudVolume::log() {
  if (leased_) return leased_->log();
  return log_;
}

bool SimCloudVolume::fenced() const {
  return generation_ < cloud_.generation_ || (leased_ && leased_->lease().lost());
}

void SimCloudVolume::make_leased(SimReactor& reactor) {
  LeasedVolume::Options options;
  options.name = name();
  options.lease_ns = cloud_.options_.lease_ns;
  // One process at a time on a machine, which names its reactors.
  uint64_t hash = 1;
  for (const char c : reactor.name()) hash = hash * 31 + static_cast<unsigned char>(c);
  options.holder = Uuid::from_random(hash, hash);
  auto base = make_device(reactor, cloud_.base_, "/base", nullptr);
  auto log = make_device(reactor, cloud_.log_, "/log", &cloud_.head_);
  leased_ = std::make_unique<LeasedVolume>(reactor, options, std::move(base), std::move(log));
}

std::unique_ptr<SessionDevice> SimCloudVolume::make_device(SimReactor& reactor, PageStore& store,
                                                           const char* what, PageStore* head) {
  SessionDevice::Options options;
  options.name = name() + what;
  options.head_bytes = head == nullptr ? 0 : kLeasedHeadBytes;
  options.landing_ns = cloud_.options_.lease_ns / 2;
  options.max_unflushed_bytes = 1u << 20;
  std::vector<std::unique_ptr<Session>> sessions;
  for (uint32_t i = 0; i < cloud_.options_.sessions; ++i) {
    auto session = std::make_unique<SimSession>(*this, reactor, store, head, name() + what);
    sessions_.push_back(session.get());
    sessions.push_back(std::move(session));
  }
  return std::make_unique<SessionDevice>(reactor, options, std::move(sessions));
}

Task<Result<void>> SimCloudVolume::open_leased() {
  if (opened_) co_return Result<void>();
  Result<void> opened = co_await leased_->open();
  opened_ = opened.ok();
  co_return opened;
}

Task<Result<void>> SimCloudVolume::release() {
  if (!leased_ || !opened_) co_return Result<void>();
  co_return co_await leased_->release();
}

void SimCloudVolume::lose_cache() {
  cloud_.base_.lose_cache(owner_, cloud_.world_.random());
  cloud_.log_.lose_cache(owner_, cloud_.world_.random());
}

void SimCloudVolume::process_death() {
  super_.process_death();
  base_.process_death();
  log_.process_death();
  for (SimSession* session : sessions_) session->process_death();
  // Without a fence the service does not care whose memory it is.
  if (!leased_) lose_cache();
}

Task<Result<SuperBytes>> SimCloudVolume::read_super() {
  if (leased_) {
    const Result<void> opened = co_await open_leased();
    if (!opened) co_return opened.error();
    co_return co_await leased_->read_super();
  }
  SuperBytes bytes;
  IoRequest request;
  iovec vector{bytes.data(), bytes.size()};
  request.length = kBlockBytes;
  request.iov = &vector;
  request.iov_count = 1;
  const IoStatus status = co_await super_.io(request);
  if (status != IoStatus::ok)
    co_return Error{Errc::io, name() + ": superblock can't be read; try again"};
  if (!cloud_.has_super_)
    co_return Error{Errc::not_found, name() + ": no disk here; create it first"};
  co_return bytes;
}

Task<Result<void>> SimCloudVolume::swap_super(uint64_t expected_generation,
                                              uint64_t next_generation, const SuperBytes& next) {
  // The bytes are the caller's only until the first suspension is over; keep our own.
  const SuperBytes kept = next;
  if (leased_) {
    leased_->lease().set_force(forced_);
    Result<void> swapped = co_await leased_->swap_super(expected_generation, next_generation, kept);
    if (swapped) {
      generation_ = next_generation;
      cloud_.generation_ = std::max(cloud_.generation_, next_generation);
      cloud_.fenced_at_ns_ = cloud_.world_.now();
      cloud_.world_.trace("{}: generation {} -> {}", name(), expected_generation, next_generation);
    }
    co_return swapped;
  }
  CloudSuperPort::Swap swap{expected_generation, next_generation, &kept};
  IoRequest request;
  iovec vector{&swap, kBlockBytes};
  request.op = IoOp::write;
  request.length = kBlockBytes;
  request.iov = &vector;
  request.iov_count = 1;
  const IoStatus status = co_await super_.io(request);
  if (status != IoStatus::ok)
    co_return Error{Errc::io, name() + ": superblock can't be replaced; try again"};
  if (swap.busy)
    co_return Error{Errc::busy, name() + ": another owner was first; read the superblock again"};
  co_return Result<void>();
}

}  // namespace latte::sim
