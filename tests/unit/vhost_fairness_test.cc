// Disks on one reactor, and queues of one disk, in front of a drive that answers when the test says
// so.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <thread>

#include "frontend/vhost_user_server.h"
#include "runtime/call_on.h"
#include "vhost_front_end.h"

namespace latte::vhost::test {
namespace {

constexpr uint32_t kLargeBytes = 128u << 10;
constexpr uint32_t kSmallBytes = 4096;
constexpr uint16_t kRingSize = 512;
constexpr size_t kLargeRequests = 32;
/// The disk whose reads may come from a cloud.
constexpr size_t kAfar = 2;
constexpr uint64_t kFeatures =
    kFeatureProtocol | 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH;

/// Keeps requests until it is told to answer them. Everything on the reactor's thread.
class HeldDevice final : public BlockDevice {
 public:
  explicit HeldDevice(Reactor& reactor) : reactor_(reactor) {
    info_.name = "held";
    info_.size_bytes = 1u << 30;
  }
  const DeviceInfo& info() const override { return info_; }
  bool submit(IoRequest& request) override {
    held_.push_back(&request);
    bytes_ += request.length;
    return true;
  }
  uint64_t bytes() const { return bytes_; }
  size_t requests() const { return held_.size(); }
  /// True if one was there.
  bool answer_one() {
    if (held_.empty()) return false;
    IoRequest& request = *held_.front();
    held_.pop_front();
    bytes_ -= request.length;
    request.status = IoStatus::ok;
    reactor_.schedule(request.waiter);
    return true;
  }

 private:
  Reactor& reactor_;
  DeviceInfo info_;
  std::deque<IoRequest*> held_;
  uint64_t bytes_ = 0;
};

/// One guest: a front-end with queues that share its memory.
struct Guest {
  explicit Guest(const std::string& path) : front(path), memory(64u << 20) {}
  void connect(uint32_t queues) {
    ASSERT_TRUE(front.connect());
    ASSERT_TRUE(front.negotiate(kFeatures));
    ASSERT_TRUE(front.set_memory(memory));
    for (uint32_t i = 0; i < queues; ++i) {
      rings.push_back(std::make_unique<SplitDriver>(memory, i * 65536, kRingSize));
      kicks.emplace_back(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
      ASSERT_TRUE(front.start_ring(i, *rings.back(), kRingSize, 0, kicks.back().get(), call.get()));
    }
  }
  void submit(uint32_t queue, uint32_t type, uint32_t bytes, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      slots.emplace_back(memory, (1u << 20) + slots.size() * (kLargeBytes + 8192));
      ASSERT_TRUE(rings[queue]->add(slots.back().prepare(type, slots.size() * 256, bytes)));
    }
    const uint64_t one = 1;
    ASSERT_EQ(::write(kicks[queue].get(), &one, sizeof(one)), ssize_t{sizeof(one)});
  }
  FrontEnd front;
  SharedMemory memory;
  std::vector<std::unique_ptr<SplitDriver>> rings;
  std::vector<UniqueFd> kicks;
  UniqueFd call{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  std::deque<RequestSlot> slots;
};

class VhostFairnessTest : public testing::Test {
 protected:
  VhostFairnessTest() {
    char name[] = "/tmp/latte-vhost-XXXXXX";
    directory_ = ::mkdtemp(name);
    reactor_ = UringReactor::create({}).take();
    for (size_t i = 0; i <= kAfar; ++i) {
      VhostUserServerOptions options;
      options.reads_afar = i == kAfar;
      devices_.push_back(std::make_unique<HeldDevice>(*reactor_));
      ListenAddress address;
      address.path = directory_ + "/" + std::to_string(i);
      servers_.push_back(
          VhostUserServer::listen(*reactor_, address, options, "disk", *devices_.back()).take());
      guests_.push_back(std::make_unique<Guest>(address.path));
    }
    thread_ = std::thread([this] {
      reactor_->run();
      reactor_->shutdown();
    });
    for (auto& server : servers_) call_on(*reactor_, [&] { server->start(); });
  }
  ~VhostFairnessTest() override {
    // Requests under way end first, also those that only then find room.
    for (int quiet = 0; quiet < 20;) {
      const bool answered = call_on(*reactor_, [&] { return answer_any(); });
      quiet = answered ? 0 : quiet + 1;
      if (!answered) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    guests_.clear();
    for (auto& server : servers_) call_on(*reactor_, [&] { return server->stop(); });
    reactor_->stop();
    thread_.join();
    servers_.clear();
    std::filesystem::remove_all(directory_);
  }
  bool answer_any() {
    return std::any_of(devices_.begin(), devices_.end(),
                       [](const auto& device) { return device->answer_one(); });
  }
  /// Waits until the device has had the same number of requests for a while; returns its bytes.
  uint64_t settled_bytes(size_t device) {
    uint64_t bytes = 0;
    for (int same = 0; same < 20;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const uint64_t now = call_on(*reactor_, [&] { return devices_[device]->bytes(); });
      same = now == bytes ? same + 1 : 0;
      bytes = now;
    }
    return bytes;
  }
  /// Answers so many, as they come.
  void answer(size_t device, size_t count) {
    for (int tries = 0; count > 0 && tries < 10'000; ++tries) {
      if (call_on(*reactor_, [&] { return devices_[device]->answer_one(); }))
        --count;
      else
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_EQ(count, 0u) << "requests that never came";
  }

  std::string directory_;
  std::unique_ptr<UringReactor> reactor_;
  std::vector<std::unique_ptr<HeldDevice>> devices_;
  std::vector<std::unique_ptr<VhostUserServer>> servers_;
  std::vector<std::unique_ptr<Guest>> guests_;
  std::thread thread_;
};

TEST_F(VhostFairnessTest, WhoIsAloneKeepsTheDriveFull) {
  guests_[0]->connect(1);
  guests_[0]->submit(0, VIRTIO_BLK_T_OUT, kLargeBytes, kLargeRequests);
  EXPECT_EQ(settled_bytes(0), uint64_t{kLargeBytes} * kLargeRequests);
}

TEST_F(VhostFairnessTest, WithASecondDiskEachHasItsPart) {
  for (auto& guest : guests_) guest->connect(1);
  guests_[1]->submit(0, VIRTIO_BLK_T_IN, kSmallBytes, 1);
  EXPECT_EQ(settled_bytes(1), kSmallBytes);
  guests_[0]->submit(0, VIRTIO_BLK_T_OUT, kLargeBytes, kLargeRequests);
  const uint64_t part = WorkShare::kSharedBytes / 2;
  EXPECT_EQ(settled_bytes(0), part);
  // It goes on as the drive answers, and the small reader is let in at any time.
  for (size_t i = 0; i < 8; ++i) {
    answer(0, 1);
    EXPECT_EQ(settled_bytes(0), part);
  }
  guests_[1]->submit(0, VIRTIO_BLK_T_IN, kSmallBytes, 31);
  EXPECT_EQ(settled_bytes(1), uint64_t{32} * kSmallBytes);
  answer(0, kLargeRequests - 8);
  EXPECT_EQ(settled_bytes(0), 0u);
}

TEST_F(VhostFairnessTest, ReadsThatMayComeFromAfarAreNotHeldBack) {
  for (auto& guest : guests_) guest->connect(1);
  guests_[1]->submit(0, VIRTIO_BLK_T_IN, kSmallBytes, 1);
  EXPECT_EQ(settled_bytes(1), kSmallBytes);
  guests_[kAfar]->submit(0, VIRTIO_BLK_T_IN, kLargeBytes, kLargeRequests);
  EXPECT_EQ(settled_bytes(kAfar), uint64_t{kLargeBytes} * kLargeRequests);
  // Its writes go to the drive.
  answer(kAfar, kLargeRequests);
  guests_[kAfar]->submit(0, VIRTIO_BLK_T_OUT, kLargeBytes, kLargeRequests);
  EXPECT_EQ(settled_bytes(kAfar), WorkShare::kSharedBytes / 2);
}

TEST_F(VhostFairnessTest, SmallRequestsOfOneQueueDoNotStarveALargeOneOfAnother) {
  for (auto& guest : guests_) guest->connect(2);
  guests_[1]->submit(0, VIRTIO_BLK_T_IN, kSmallBytes, 1);
  EXPECT_EQ(settled_bytes(1), kSmallBytes);
  // The first queue fills the disk's part; then a large request comes on the second one, and more
  // small ones on the first.
  const uint64_t part = WorkShare::kSharedBytes / 2;
  guests_[0]->submit(0, VIRTIO_BLK_T_IN, kSmallBytes, part / kSmallBytes);
  EXPECT_EQ(settled_bytes(0), part);
  guests_[0]->submit(1, VIRTIO_BLK_T_IN, kLargeBytes, 1);
  EXPECT_EQ(settled_bytes(0), part);
  guests_[0]->submit(0, VIRTIO_BLK_T_IN, kSmallBytes, 16);
  answer(0, kLargeBytes / kSmallBytes);
  EXPECT_EQ(settled_bytes(0), part);
  EXPECT_EQ(call_on(*reactor_, [&] { return devices_[0]->requests(); }),
            (part - kLargeBytes) / kSmallBytes + 1)
      << "small requests went ahead of the large one that waited";
}

}  // namespace
}  // namespace latte::vhost::test
