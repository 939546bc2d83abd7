// A process on a simulated machine, for tests of the log and the disk: run() drives virtual time
// until a task has ended.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "disk/hybrid_disk.h"
#include "sim/sim_cloud.h"
#include "sim/sim_drive.h"
#include "sim/sim_world.h"

namespace latte::test {

inline constexpr TimeNs kPatienceNs = 600 * kSecond;

template <typename T>
Task<void> store(Task<T> task, std::optional<T>* out) {
  out->emplace(co_await task);
}

/// Runs `task` to its end in virtual time and returns its result.
template <typename T>
T run(sim::World& world, sim::SimReactor& reactor, Task<T> task) {
  std::optional<T> result;
  Task<void> body = store(std::move(task), &result);
  reactor.spawn(std::move(body));
  const auto stop = world.run_until([&] { return result.has_value(); }, world.now() + kPatienceNs);
  EXPECT_EQ(stop, sim::World::Stop::condition);
  LATTE_CHECK(result.has_value());
  return std::move(*result);
}

/// One I/O as a task.
inline Task<IoStatus> io(BlockDevice* device, IoOp op, uint64_t offset, std::span<std::byte> data,
                         uint64_t length, bool fua) {
  IoRequest request;
  iovec vector{data.data(), data.size()};
  request.op = op;
  request.fua = fua;
  request.offset = offset;
  request.length = length;
  request.iov = &vector;
  request.iov_count = data.empty() ? 0 : 1;
  co_return co_await device->io(request);
}

using Bytes = std::vector<std::byte>;
inline Bytes filled(size_t length, int value) {
  return Bytes(length, static_cast<std::byte>(value));
}

/// Options of a disk whose dispatcher trains in virtual time.
inline DiskOptions dispatching(DiskOptions options, DispatchMode mode) {
  options.dispatch = {mode, DispatchTrainer::Runs::in_end};
  return options;
}

/// A host with a drive and one disk, whose cloud outlives it.
class DiskRig {
 public:
  /// `base_bytes`: of the base image; 0: as large as the disk.
  explicit DiskRig(DiskOptions options = defaults(), uint64_t seed = 1,
                   policy::AdmissionOptions admission = {}, uint64_t base_bytes = 0)
      : options_(std::move(options)),
        admission_(admission),
        base_bytes_(base_bytes == 0 ? options_.size_bytes : base_bytes),
        world_(seed),
        cloud_(world_, cloud_options()) {
    make_drive();
    boot();
    create();
  }
  ~DiskRig() { kill(false); }

  static constexpr uint64_t kSegmentBytes = 64u << 10;
  static constexpr uint64_t kPoolSegments = 24;
  static DiskOptions defaults() {
    DiskOptions options;
    options.name = "db";
    options.size_bytes = 1u << 20;
    return options;
  }

  sim::World& world() { return world_; }
  sim::SimReactor& reactor() { return *reactor_; }
  sim::SimDrive& drive() { return *drive_; }
  sim::SimCloud& cloud() { return cloud_; }
  sim::SimCloudVolume& volume() { return *volume_; }
  Host& host() { return *host_; }
  HybridDisk& disk() { return *disk_; }
  const DiskOptions& options() const { return options_; }
  DiskStats stats() { return host().stats().disks.front(); }

  template <typename T>
  T run(Task<T> task) {
    return test::run(world_, *reactor_, std::move(task));
  }
  IoStatus write(uint64_t offset, Bytes data, bool fua = false) {
    return run(io(disk_, IoOp::write, offset, data, data.size(), fua));
  }
  IoStatus command(IoOp op, uint64_t offset = 0, uint64_t length = 0) {
    return run(io(disk_, op, offset, {}, length, false));
  }
  /// The bytes, or nothing if the read failed with `status`.
  Bytes read(uint64_t offset, uint64_t length, IoStatus* status = nullptr) {
    Bytes data(length);
    const IoStatus result = run(io(disk_, IoOp::read, offset, data, length, false));
    if (status != nullptr) *status = result;
    return result == IoStatus::ok ? data : Bytes{};
  }

  /// Ends the process (and the machine's power).
  void kill(bool power) {
    if (reactor_ == nullptr) return;
    if (power) {
      drive_->power_loss();
      ++boot_;
    } else {
      drive_->process_death();
    }
    volume_->process_death();
    reactor_->destroy_tasks();
    host_.reset();
    volume_.reset();
    reactor_.reset();
  }
  /// A new empty drive; the process must be down.
  void make_drive() {
    sim::DriveOptions drive;
    drive.size_bytes = (kPoolSegments + 1) * kSegmentBytes;
    drive_ = std::make_unique<sim::SimDrive>(world_, drive);
    formatted_ = false;
  }
  /// Starts a process and opens its pool.
  void boot() {
    reactor_ = std::make_unique<sim::SimReactor>(world_, "host", 0);
    reactor_->set_boot_id(boot_);
    drive_->connect(*reactor_);
    volume_ = std::make_unique<sim::SimCloudVolume>(cloud_, *reactor_);
    PoolOptions pool;
    pool.segment_bytes = kSegmentBytes;
    if (!formatted_) {
      EXPECT_TRUE(run(Host::format_pool(*reactor_, *drive_, pool)).ok());
    }
    formatted_ = true;
    host_ = std::make_unique<Host>(*reactor_, *drive_, admission_);
    EXPECT_TRUE(run(host_->open_pool()).ok());
  }
  Result<void> attach() {
    const auto attached = run(host_->attach(options_, *volume_));
    if (!attached.ok()) return attached.error();
    disk_ = attached.value();
    return {};
  }

 private:
  sim::SimCloudOptions cloud_options() const {
    sim::SimCloudOptions cloud;
    cloud.base_bytes = base_bytes_;
    cloud.log_bytes = 20 * kSegmentBytes;
    return cloud;
  }
  void create() {
    CloudOptions log;
    log.segment_bytes = kSegmentBytes;
    EXPECT_TRUE(run(Host::format_cloud(*reactor_, *volume_, options_, log)).ok());
    EXPECT_TRUE(run(host_->adopt_new(options_, *volume_)).ok());
    EXPECT_TRUE(attach().ok());
  }

  DiskOptions options_;
  policy::AdmissionOptions admission_;
  const uint64_t base_bytes_;
  sim::World world_;
  sim::SimCloud cloud_;
  std::unique_ptr<sim::SimDrive> drive_;
  bool formatted_ = false;
  uint64_t boot_ = 1;
  std::unique_ptr<sim::SimReactor> reactor_;
  std::unique_ptr<sim::SimCloudVolume> volume_;
  std::unique_ptr<Host> host_;
  HybridDisk* disk_ = nullptr;
};

/// The host is lost with its drive; another takes the disk over.
inline void move_to_another_host(DiskRig& rig) {
  rig.kill(true);
  rig.make_drive();
  rig.boot();
  std::string report;
  ASSERT_TRUE(rig.run(rig.host().take_over(rig.options(), rig.volume(), &report)).ok());
  ASSERT_TRUE(rig.attach().ok());
}

}  // namespace latte::test
