// A disk whose queues run on several reactors, under drivers that do everything at once: transfers,
// flushes, discards and zeroing from all queues, to parts of a thin volume that are their own and
// to parts that they fight for, while the volume grows, the guest's memory table is set again, and
// queues are stopped and started.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <thread>

#include "base/logging.h"
#include "base/random.h"
#include "device/file_device.h"
#include "device/memory_device.h"
#include "device/remote_device.h"
#include "disk/local_volume_lane.h"
#include "disk/volume_space.h"
#include "frontend/vhost_user_server.h"
#include "runtime/call_on.h"
#include "vhost_front_end.h"

namespace latte::vhost::test {
namespace {

constexpr uint32_t kExtentBytes = volume::kMinExtentBytes;
constexpr uint64_t kExtentBlocks = kExtentBytes / kBlockBytes;
constexpr uint64_t kParts = 64;
constexpr uint64_t kFought = 32;  // parts below are everybody's
constexpr uint64_t kSpareExtents = 3;
constexpr uint64_t kVolumeBytes = kParts * kExtentBytes;
constexpr uint64_t kLogBytes = 1u << 20;  // in front of the area
constexpr uint64_t kAreaBytes = (kParts + kSpareExtents) * kExtentBytes + (192u << 10);
constexpr uint32_t kQueues = 4;
constexpr size_t kSlots = 4;  // requests under way a queue
constexpr uint16_t kRingSize = 32;
constexpr uint64_t kMostBlocks = 8;

/// Lets every request wait for a while, so that those of one reactor overtake those of another;
/// some so long that a discard and a new owner of the extent could come in between.
class SlowDevice final : public BlockDevice {
 public:
  SlowDevice(UringReactor& reactor, BlockDevice& below, TimeNs long_wait_ns)
      : reactor_(reactor), below_(below), long_wait_ns_(long_wait_ns) {}
  const DeviceInfo& info() const override { return below_.info(); }
  bool submit(IoRequest& request) override {
    reactor_.spawn(run(request));
    return true;
  }

 private:
  Task<void> run(IoRequest& request) {
    const TimeNs most_ns = reactor_.random().chance(1, 8) ? long_wait_ns_ : 100 * kMicrosecond;
    co_await reactor_.sleep(
        static_cast<TimeNs>(reactor_.random().below(static_cast<uint64_t>(most_ns))));
    const std::coroutine_handle<> waiter = request.waiter;
    const IoStatus status = co_await below_.io(request);
    request.status = status;
    reactor_.schedule(waiter);
  }
  UringReactor& reactor_;
  BlockDevice& below_;
  const TimeNs long_wait_ns_;
};

struct Core {
  std::unique_ptr<UringReactor> reactor;
  std::unique_ptr<FileDevice> file;
  std::unique_ptr<SlowDevice> drive;
  std::unique_ptr<LocalVolumeLane> lane;
  std::thread thread;
};

/// What each block holds: whose it is, and which version.
struct Tag {
  uint64_t block = 0;  ///< counted from 1; 0: zeroes
  uint64_t version = 0;
};

/// One queue's driver, on a thread of its own.
class Driver {
 public:
  Driver(SharedMemory& memory, uint32_t index)
      : index_(index),
        random_(9000 + index),
        ring(memory, index * kAreaOfQueue, kRingSize),
        versions_(kParts * kExtentBlocks) {
    for (size_t i = 0; i < kSlots; ++i)
      slots_.emplace_back(memory, index * kAreaOfQueue + (64u << 10) + i * (64u << 10));
  }

  /// Begins a request in every slot that is free and sees what has ended, until `stop`.
  void run(const std::atomic<bool>& stop) {
    while (!stop.load() && !testing::Test::HasFatalFailure()) {
      for (size_t i = 0; i < kSlots; ++i)
        if (!under_way_[i].busy) begin(i);
      kick();
      take_all(1000);
    }
    for (int tries = 0; busy() && tries < 100; ++tries) take_all(100);
    EXPECT_FALSE(busy()) << "queue " << index_ << " lost requests";
  }
  void kick() {
    const uint64_t one = 1;
    (void)!::write(kick_fd.get(), &one, sizeof(one));
  }
  uint64_t done() const { return done_; }
  uint64_t fought_reads() const { return fought_reads_; }

  static constexpr size_t kAreaOfQueue = 1u << 20;
  UniqueFd kick_fd{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  UniqueFd call_fd{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};

 private:
  struct Request {
    bool busy = false;
    bool fought = false;
    uint32_t type = 0;
    uint64_t block = 0;
    uint64_t blocks = 0;
    uint16_t id = 0;
  };

  const uint32_t index_;
  Random random_;

 public:
  SplitDriver ring;

 private:
  /// Two parts that nobody else touches, and of this queue only this slot.
  uint64_t own_part(size_t slot) const { return kFought + 2 * (index_ * kSlots + slot); }

  void begin(size_t index) {
    Request& request = under_way_[index];
    RequestSlot& slot = slots_[index];
    request.fought = random_.chance(1, 2);
    const uint64_t part = request.fought ? random_.below(kFought / 2) * 2 : own_part(index);
    request.blocks = random_.between(1, kMostBlocks);
    request.block = part * kExtentBlocks + random_.below(2 * kExtentBlocks - request.blocks + 1);
    const uint64_t what = random_.below(20);
    request.type = what < 9    ? VIRTIO_BLK_T_OUT
                   : what < 17 ? VIRTIO_BLK_T_IN
                   : what < 18 ? VIRTIO_BLK_T_FLUSH
                   : what < 19 ? VIRTIO_BLK_T_DISCARD
                               : VIRTIO_BLK_T_WRITE_ZEROES;
    std::vector<Buffer> buffers;
    if (request.type == VIRTIO_BLK_T_DISCARD) {  // a whole extent: it is given back
      request.block = (part + random_.below(2)) * kExtentBlocks;
      request.blocks = kExtentBlocks;
    }
    if (request.type == VIRTIO_BLK_T_OUT || request.type == VIRTIO_BLK_T_IN) {
      buffers = slot.prepare(request.type, request.block * 8,
                             static_cast<uint32_t>(request.blocks * kBlockBytes));
    } else if (request.type == VIRTIO_BLK_T_FLUSH) {
      buffers = slot.prepare(request.type, 0, 0);
    } else {
      buffers = slot.prepare(request.type, 0, 16);
      const uint64_t sector = request.block * 8;
      const auto sectors = static_cast<uint32_t>(request.blocks * 8);
      const uint32_t flags = 0;
      std::memcpy(slot.data, &sector, 8);
      std::memcpy(slot.data + 8, &sectors, 4);
      std::memcpy(slot.data + 12, &flags, 4);
    }
    if (request.type == VIRTIO_BLK_T_OUT) {
      ++version_;
      for (uint64_t i = 0; i < request.blocks; ++i) {
        const Tag tag{request.block + i + 1, version_};
        for (size_t at = 0; at < kBlockBytes; at += sizeof(tag))
          std::memcpy(slot.data + i * kBlockBytes + at, &tag, sizeof(tag));
      }
    }
    const auto id = ring.add(buffers);
    ASSERT_TRUE(id.has_value());
    request.id = *id;
    request.busy = true;
    if (request.fought) return;
    for (uint64_t i = 0; i < request.blocks; ++i) {
      uint64_t& version = versions_[request.block + i];
      if (request.type == VIRTIO_BLK_T_OUT) version = version_;
      if (request.type == VIRTIO_BLK_T_DISCARD || request.type == VIRTIO_BLK_T_WRITE_ZEROES)
        version = 0;
    }
  }
  void take_all(int wait_ms) {
    pollfd ready{call_fd.get(), POLLIN, 0};
    (void)::poll(&ready, 1, wait_ms);
    uint64_t count = 0;
    (void)!::read(call_fd.get(), &count, sizeof(count));
    while (const auto used = ring.take_used()) {
      size_t index = 0;
      while (index < kSlots && !(under_way_[index].busy && under_way_[index].id == used->id))
        ++index;
      ASSERT_LT(index, kSlots) << "answered twice";
      end(index);
    }
  }
  void end(size_t index) {
    Request& request = under_way_[index];
    request.busy = false;
    ++done_;
    ASSERT_EQ(slots_[index].status(), VIRTIO_BLK_S_OK) << "type " << request.type;
    if (request.type != VIRTIO_BLK_T_IN) return;
    for (uint64_t i = 0; i < request.blocks; ++i) {
      const uint64_t block = request.block + i;
      for (size_t at = 0; at < kBlockBytes; at += sizeof(Tag)) {
        Tag tag;
        std::memcpy(&tag, slots_[index].data + i * kBlockBytes + at, sizeof(tag));
        if (request.fought) {
          ASSERT_TRUE(tag.block == 0 || tag.block == block + 1)
              << "block " << block << " has what belongs to " << tag.block - 1;
          continue;
        }
        const uint64_t version = versions_[block];
        ASSERT_EQ(tag.version, version) << "block " << block;
        ASSERT_EQ(tag.block, version == 0 ? 0 : block + 1);
      }
    }
    if (request.fought) ++fought_reads_;
  }
  bool busy() const {
    for (const Request& request : under_way_)
      if (request.busy) return true;
    return false;
  }

  std::vector<RequestSlot> slots_;
  std::array<Request, kSlots> under_way_;
  std::vector<uint64_t> versions_;
  uint64_t version_ = 0;
  uint64_t done_ = 0;
  uint64_t fought_reads_ = 0;
};

class VhostLanes : public testing::Test {
 protected:
  VhostLanes() {
    set_log_level(LogLevel::error);
    char name[] = "/tmp/latte-lanes-XXXXXX";
    directory_ = ::mkdtemp(name);
    drive_ = UniqueFd(::memfd_create("drive", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(drive_.get(), kLogBytes + kAreaBytes), 0);
  }
  ~VhostLanes() override {
    call_on(*cores_[0].reactor, [this] { return server_->stop(); });
    if (space_) {
      const auto stopped = call_on(*cores_[0].reactor, [this] { return space_->stop(); });
      EXPECT_TRUE(stopped.ok());
    }
    for (size_t i = cores_.size(); i-- > 0;) {
      cores_[i].reactor->stop();
      cores_[i].thread.join();
    }
    server_.reset();
    std::filesystem::remove_all(directory_);
  }
  void start_core(Core& core) {
    auto reactor = UringReactor::create({});
    ASSERT_TRUE(reactor.ok());
    core.reactor = reactor.take();
    core.thread = std::thread([&core] {
      core.reactor->run();
      core.reactor->shutdown();
    });
    FileDevice::Options options;
    options.path = "/proc/self/fd/" + std::to_string(drive_.get());
    auto file = call_on(*core.reactor, [&] { return FileDevice::open(*core.reactor, options); });
    ASSERT_TRUE(file.ok()) << file.error().message;
    core.file = file.take();
    const bool home = &core == &cores_[0];
    core.drive = std::make_unique<SlowDevice>(*core.reactor, *core.file,
                                              home ? 100 * kMicrosecond : 10 * kMillisecond);
  }
  void make_volume() {
    UringReactor& home = *cores_[0].reactor;
    const VolumeArea area{kLogBytes, kAreaBytes};
    VolumeSpace::FormatOptions format;
    format.extent_bytes = kExtentBytes;
    format.zeroed = true;
    const auto formatted =
        call_on(home, [&] { return VolumeSpace::format(home, *cores_[0].file, area, format); });
    ASSERT_TRUE(formatted.ok()) << formatted.error().message;
    auto opened = call_on(home, [&] {
      return VolumeSpace::open(home, *cores_[0].drive, area, VolumeSpace::Access::read_write);
    });
    ASSERT_TRUE(opened.ok());
    space_ = opened.take();
    const auto created = call_on(home, [&] {
      VolumeOptions options{"v", kVolumeBytes, true};
      return space_->create(std::move(options));
    });
    ASSERT_TRUE(created.ok()) << created.error().message;
    auto attached = call_on(home, [&] { return space_->attach("v"); });
    ASSERT_TRUE(attached.ok());
    volume_ = attached.value();
  }
  void serve(BlockDevice& device, std::vector<VhostLane> lanes) {
    ListenAddress address;
    address.path = directory_ + "/sock";
    auto server =
        VhostUserServer::listen(*cores_[0].reactor, address, {}, "v", device, std::move(lanes));
    ASSERT_TRUE(server.ok());
    server_ = server.take();
    call_on(*cores_[0].reactor, [this] { server_->start(); });
    front_.emplace(address.path);
    ASSERT_TRUE(front_->connect());
    ASSERT_TRUE(front_->negotiate(kFeatureProtocol | 1ull << VIRTIO_F_VERSION_1 |
                                  1ull << VIRTIO_BLK_F_FLUSH));
    ASSERT_TRUE(front_->set_memory(memory_));
    for (uint32_t i = 0; i < kQueues; ++i) {
      drivers_.push_back(std::make_unique<Driver>(memory_, i));
      Driver& driver = *drivers_.back();
      ASSERT_TRUE(front_->start_ring(i, driver.ring, kRingSize, 0, driver.kick_fd.get(),
                                     driver.call_fd.get()));
    }
  }
  /// The home reactor's own, and the others' ways to it.
  std::vector<VhostLane> lanes_to(BlockDevice& device,
                                  std::vector<std::unique_ptr<RemoteDevice>>& remotes) {
    UringReactor& home = *cores_[0].reactor;
    std::vector<VhostLane> lanes{{&home, &device}};
    for (size_t i = 1; i < cores_.size(); ++i) {
      remotes.push_back(std::make_unique<RemoteDevice>(*cores_[i].reactor, home, device));
      lanes.push_back({cores_[i].reactor.get(), remotes.back().get()});
    }
    return lanes;
  }
  /// A new driver with an empty ring, for a queue that does not run.
  void start_afresh(uint32_t index) {
    std::memset(memory_.data() + index * Driver::kAreaOfQueue, 0, 4096);
    drivers_[index] = std::make_unique<Driver>(memory_, index);
    Driver& driver = *drivers_[index];
    ASSERT_TRUE(front_->start_ring(index, driver.ring, kRingSize, 0, driver.kick_fd.get(),
                                   driver.call_fd.get()));
  }
  /// Runs all drivers while `disturb` is called again and again.
  template <typename Disturb>
  void run(Disturb&& disturb, int rounds) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (auto& driver : drivers_) threads.emplace_back([&driver, &stop] { driver->run(stop); });
    for (int round = 0; round < rounds && !HasFatalFailure(); ++round) {
      ::usleep(10'000);
      disturb(round);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    uint64_t done = 0;
    for (auto& driver : drivers_) {
      done += driver->done();
      EXPECT_GT(driver->fought_reads(), 10u);
    }
    EXPECT_GE(server_->requests(), done);
  }
  /// What a front-end may do to a device under load.
  void disturb_rings(int round) {
    const auto queue = static_cast<uint32_t>(round) % kQueues;
    Driver& driver = *drivers_[queue];
    switch (round % 3) {
      case 0:
        ASSERT_TRUE(front_->set_memory(memory_));
        break;
      case 1: {
        const auto base = front_->stop_ring(queue);
        ASSERT_TRUE(base.has_value());
        ASSERT_TRUE(front_->start_ring(queue, driver.ring, kRingSize, *base, driver.kick_fd.get(),
                                       driver.call_fd.get()));
        break;
      }
      case 2:
        ASSERT_TRUE(front_->send_ring(Request::set_vring_enable, queue, 0));
        ASSERT_TRUE(front_->send_fd(Request::set_vring_call, queue, driver.call_fd.get()));
        ASSERT_TRUE(front_->send_ring(Request::set_vring_enable, queue, 1));
        break;
    }
    ASSERT_TRUE(front_->ask(Request::get_queue_num).has_value());
  }

  std::string directory_;
  UniqueFd drive_;
  std::array<Core, 3> cores_;  // the home reactor first
  std::unique_ptr<VolumeSpace> space_;
  LocalVolume* volume_ = nullptr;
  std::unique_ptr<VhostUserServer> server_;
  SharedMemory memory_;
  std::optional<FrontEnd> front_;
  std::vector<std::unique_ptr<Driver>> drivers_;
};

TEST_F(VhostLanes, LocalVolumeUnderEverything) {
  for (Core& core : cores_) start_core(core);
  UringReactor& home = *cores_[0].reactor;
  make_volume();
  if (HasFatalFailure()) return;
  std::vector<VhostLane> lanes{{&home, volume_}};
  call_on(home, [&] {
    for (size_t i = 1; i < cores_.size(); ++i)
      cores_[i].lane =
          std::make_unique<LocalVolumeLane>(*cores_[i].reactor, home, *volume_, *cores_[i].drive);
  });
  for (size_t i = 1; i < cores_.size(); ++i)
    lanes.push_back({cores_[i].reactor.get(), cores_[i].lane.get()});
  serve(*volume_, lanes);
  if (HasFatalFailure()) return;
  uint64_t size_bytes = kVolumeBytes;
  run(
      [&](int round) {
        disturb_rings(round);
        if (round % 5 != 0) return;
        // Larger, and smaller again: what the drivers use stays.
        size_bytes = size_bytes == kVolumeBytes ? kVolumeBytes + 5 * kBlockBytes : kVolumeBytes;
        const auto resized = call_on(home, [&] { return space_->resize("v", size_bytes, true); });
        ASSERT_TRUE(resized.ok()) << resized.error().message;
        for (size_t i = 1; i < cores_.size(); ++i) {
          const uint64_t seen =
              call_on(*cores_[i].reactor, [&] { return cores_[i].lane->info().size_bytes; });
          ASSERT_EQ(seen, size_bytes);
        }
      },
      200);
  // Lanes that pass everything on would pass this test, too: they have to do most themselves.
  uint64_t own = 0;
  for (size_t i = 1; i < cores_.size(); ++i)
    own += call_on(*cores_[i].reactor, [&] { return cores_[i].lane->stats().reads; });
  EXPECT_GT(own, 100u);
}

TEST_F(VhostLanes, AnyDeviceThroughItsOwnersReactor) {
  for (Core& core : cores_) start_core(core);
  UringReactor& home = *cores_[0].reactor;
  MemoryDevice memory(kVolumeBytes);
  SlowDevice device(home, memory, kMillisecond);
  std::vector<std::unique_ptr<RemoteDevice>> remotes;
  std::vector<VhostLane> lanes;
  for (size_t i = 1; i < cores_.size(); ++i) {
    remotes.push_back(std::make_unique<RemoteDevice>(*cores_[i].reactor, home, device));
    lanes.push_back({cores_[i].reactor.get(), remotes.back().get()});
  }
  serve(device, lanes);
  if (HasFatalFailure()) return;
  run([&](int round) { disturb_rings(round); }, 100);
  call_on(home, [this] { return server_->stop(); });
}

// A front-end that leaves in the middle takes nothing with it, and the next one finds the device.
TEST_F(VhostLanes, FrontEndsComeAndGo) {
  for (Core& core : cores_) start_core(core);
  UringReactor& home = *cores_[0].reactor;
  MemoryDevice memory(kVolumeBytes);
  SlowDevice device(home, memory, kMillisecond);
  std::vector<std::unique_ptr<RemoteDevice>> remotes;
  const std::vector<VhostLane> lanes = lanes_to(device, remotes);
  serve(device, lanes);
  for (int round = 0; round < 20 && !HasFatalFailure(); ++round) {
    ::usleep(1000);
    front_->disconnect();
    drivers_.clear();
    std::memset(memory_.data(), 0, kQueues * Driver::kAreaOfQueue);
    ASSERT_TRUE(front_->connect());
    ASSERT_TRUE(front_->negotiate(kFeatureProtocol | 1ull << VIRTIO_F_VERSION_1 |
                                  1ull << VIRTIO_BLK_F_FLUSH));
    ASSERT_TRUE(front_->set_memory(memory_));
    for (uint32_t i = 0; i < kQueues; ++i) {
      drivers_.push_back(std::make_unique<Driver>(memory_, i));
      Driver& driver = *drivers_.back();
      // Something is under way when it leaves.
      RequestSlot slot(memory_, i * Driver::kAreaOfQueue + (512u << 10));
      ASSERT_TRUE(driver.ring.add(slot.prepare(VIRTIO_BLK_T_IN, 0, 4096)).has_value());
      ASSERT_TRUE(front_->start_ring(i, driver.ring, kRingSize, 0, driver.kick_fd.get(),
                                     driver.call_fd.get()));
    }
    ASSERT_TRUE(front_->ask(Request::get_queue_num).has_value());
  }
  call_on(home, [this] { return server_->stop(); });
}

// Memory that leaves while requests to it are under way on several reactors, and a queue that its
// driver breaks: the other queues go on.
TEST_F(VhostLanes, MemoryLeavesUnderIoAndOneQueueBreaks) {
  for (Core& core : cores_) start_core(core);
  UringReactor& home = *cores_[0].reactor;
  MemoryDevice memory(kVolumeBytes);
  SlowDevice device(home, memory, 20 * kMillisecond);
  std::vector<std::unique_ptr<RemoteDevice>> remotes;
  std::vector<VhostLane> lanes = lanes_to(device, remotes);
  serve(device, lanes);
  if (HasFatalFailure()) return;
  SharedMemory more(1u << 20);
  struct {
    uint64_t padding = 0;
    RegionDescription region;
  } message;
  message.region = more.description(kGuestBase + kMemoryBytes);
  for (int round = 0; round < 10; ++round) {
    ASSERT_TRUE(front_->send(static_cast<uint32_t>(Request::add_mem_reg), &message, sizeof(message),
                             {more.fd()}));
    ASSERT_TRUE(front_->ask(Request::get_queue_num).has_value());
    for (uint32_t i = 0; i < kQueues; ++i) {
      RequestSlot slot(memory_, i * Driver::kAreaOfQueue + (512u << 10));
      auto buffers = slot.prepare(VIRTIO_BLK_T_IN, 0, 65536);
      buffers[1].address = kGuestBase + kMemoryBytes + i * 65536;
      ASSERT_TRUE(drivers_[i]->ring.add(buffers).has_value());
      drivers_[i]->kick();
    }
    ::usleep(500);
    ASSERT_TRUE(
        front_->send(static_cast<uint32_t>(Request::rem_mem_reg), &message, sizeof(message)));
    ASSERT_TRUE(front_->ask(Request::get_queue_num).has_value());
    // Taken before or after: answered, or the queue is broken. Stopped and started it works.
    for (uint32_t i = 0; i < kQueues; ++i) {
      ASSERT_TRUE(front_->stop_ring(i).has_value());
      start_afresh(i);
    }
  }
  store_release(drivers_[1]->ring.available() + 1, uint16_t{5000});
  drivers_[1]->kick();
  std::swap(drivers_[1], drivers_[kQueues - 1]);
  drivers_.pop_back();
  run([](int) {}, 50);
  call_on(home, [this] { return server_->stop(); });
}

}  // namespace
}  // namespace latte::vhost::test
