#include "ring_core.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <chrono>
#include <cstring>

#include "runtime/call_on.h"

namespace latte::bench {
namespace {

constexpr uint64_t kFillBytes = 128u << 10;
/// Room for the volume table or the log's records beside the data.
constexpr uint64_t kSpareBytes = 64u << 20;

void pin_to(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(core), &set);
  const int error = ::pthread_setaffinity_np(::pthread_self(), sizeof(set), &set);
  if (error != 0) fail("core " + std::to_string(core), std::strerror(error));
}

double seconds(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

RingCore::RingCore(Options options) : options_(std::move(options)) {}

RingCore::~RingCore() { LATTE_CHECK(!server_thread_.joinable()); }

void RingCore::start() {
  server_thread_ = std::thread([this] { serve(); });
  ready_.wait(false);
  driver_.emplace(RingDriver::Options{options_.directory + "/sock", options_.writes, options_.depth,
                                      options_.disk_bytes, options_.inflight,
                                      static_cast<uint64_t>(options_.core) + 1});
  driver_->connect();
  if (options_.driver_core) {
    driver_thread_ = std::thread([this] { drive(); });
    return;
  }
  call_on(*reactor_, [this] {
    driver_->begin();
    reactor_->arm(inline_);
  });
}

void RingCore::open_device() {
  if (!options_.file.empty()) {
    FileDevice::Options file;
    file.path = options_.file;
    device_ = expect("file", FileDevice::open(*reactor_, std::move(file)));
    return;
  }
  const uint64_t log = options_.disk == Disk::hybrid ? 2 : 1;
  device_ = std::make_unique<MemoryDevice>(log * options_.disk_bytes + kSpareBytes);
}

void RingCore::open_disk() {
  open_device();
  if (options_.disk == Disk::memory) {
    disk_ = device_.get();
  } else if (options_.disk == Disk::plain) {
    const VolumeArea area{0, device_->info().size_bytes};
    VolumeSpace::FormatOptions format;
    format.zeroed = options_.file.empty();
    expect("format", run_task(*reactor_, VolumeSpace::format(*reactor_, *device_, area, format)));
    space_ =
        expect("open", run_task(*reactor_, VolumeSpace::open(*reactor_, *device_, area,
                                                             VolumeSpace::Access::read_write)));
    VolumeOptions volume{"bench", options_.disk_bytes, false};
    expect("create", run_task(*reactor_, space_->create(std::move(volume))));
    disk_ = expect("attach", space_->attach("bench"));
  } else {
    hybrid_ = std::make_unique<BenchDisk>(*reactor_, *device_,
                                          BenchDisk::Options{options_.directory + "/cloud",
                                                             options_.disk_bytes,
                                                             2 * options_.disk_bytes + kSpareBytes,
                                                             {}});
    hybrid_->create();
    hybrid_->attach();
    disk_ = &hybrid_->disk();
  }
  run_task(*reactor_, fill());
}

/// Memory that was never written, or blocks in no log, would be read faster than others.
Task<void> RingCore::fill() {
  Buffer data(kFillBytes);
  std::memset(data.data(), 1, data.size());
  for (uint64_t offset = 0; offset < options_.disk_bytes; offset += kFillBytes) {
    const IoStatus status = co_await disk_->write(offset, data.span());
    if (status != IoStatus::ok) fail("fill", std::string(to_string(status)));
  }
  while (hybrid_ && hybrid_->host().stats().disks.front().dirty_bytes > 0)
    co_await reactor_->sleep(20 * kMillisecond);
}

void RingCore::serve() {
  pin_to(options_.core);
  UringReactor::Options reactor;
  reactor.polling = Polling::always;
  reactor_ = expect("reactor", UringReactor::create(std::move(reactor)));
  open_disk();
  ListenAddress address;
  address.path = options_.directory + "/sock";
  VhostUserServerOptions options;
  options.queues = 1;
  options.polling = Polling::always;
  server_ = expect("listen", VhostUserServer::listen(*reactor_, address, options, "bench", *disk_));
  server_->start();
  system_calls_ = std::make_unique<SystemCallCounter>();
  ready_.store(true);
  ready_.notify_all();
  reactor_->run();
  close();
}

void RingCore::close() {
  run_task(*reactor_, server_->stop());
  if (space_) expect("stop", run_task(*reactor_, space_->stop()));
  if (hybrid_) hybrid_->stop();
  reactor_->shutdown();
}

void RingCore::Inline::at_turn_end() {
  RingDriver& driver = *core_.driver_;
  const TimeNs start_ns = core_.reactor_->now();
  if (driver.poll() > 0) core_.driver_ns_ += core_.reactor_->now() - start_ns;
  if (core_.ending_.load(std::memory_order_relaxed)) driver.end();
  if (driver.under_way() > 0) core_.reactor_->arm(*this);
}

void RingCore::drive() {
  pin_to(*options_.driver_core);
  driver_->begin();
  while (driver_->under_way() > 0) {
    driver_->poll();
    if (ending_.load(std::memory_order_relaxed)) driver_->end();
  }
}

RingCore::Sample RingCore::sample() {
  return call_on(*reactor_, [this] {
    Sample sample;
    sample.calls = counted_calls();
    sample.system_calls = system_calls_->count();
    sample.requests = driver_->requests();
    sample.wall_seconds = seconds(CLOCK_MONOTONIC);
    sample.cpu_seconds = seconds(CLOCK_THREAD_CPUTIME_ID);
    sample.driver_seconds = static_cast<double>(driver_ns_) * 1e-9;
    sample.ring_enters = reactor_->system_calls();
    sample.ring_entries = reactor_->operations();
    return sample;
  });
}

void RingCore::stop() {
  ending_.store(true);
  if (driver_thread_.joinable()) driver_thread_.join();
  while (call_on(*reactor_, [this] { return driver_->under_way(); }) > 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  reactor_->stop();
  server_thread_.join();
  if (driver_->errors() > 0) fail("requests", std::to_string(driver_->errors()) + " failed");
}

}  // namespace latte::bench
