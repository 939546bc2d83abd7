// A server that is killed again and again under load: what a front-end that reconnects sees. The
// device's blocks are in shared memory, as a disk's would survive; requests take a while and end in
// any order, so that each kill finds some of them under way.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <filesystem>

#include "base/logging.h"
#include "base/random.h"
#include "frontend/vhost_user_server.h"
#include "runtime/sync.h"
#include "vhost_front_end.h"

namespace latte::vhost::test {
namespace {

constexpr uint64_t kBlocks = 64;
constexpr uint16_t kRingSize = 32;
constexpr size_t kSlots = 10;  // requests of 3 descriptors
constexpr int kKills = 100;

/// Blocks in memory that outlives the process.
class SharedDevice final : public BlockDevice {
 public:
  SharedDevice(UringReactor& reactor, std::byte* data) : reactor_(reactor), data_(data) {
    info_.name = "shared";
    info_.size_bytes = kBlocks * kBlockBytes;
    info_.volatile_cache = false;
    info_.can_fua = true;
    info_.can_discard = true;
  }
  const DeviceInfo& info() const override { return info_; }
  bool submit(IoRequest& request) override {
    reactor_.spawn(execute(request));
    return true;
  }

 private:
  Task<void> execute(IoRequest& request) {
    co_await reactor_.sleep(static_cast<TimeNs>(reactor_.random().below(300)) * kMicrosecond);
    std::byte* at = data_ + request.offset;
    for (uint32_t i = 0; i < request.iov_count; ++i) {
      const iovec& piece = request.iov[i];
      if (request.op == IoOp::read)
        std::memcpy(piece.iov_base, at, piece.iov_len);
      else if (request.op == IoOp::write)
        std::memcpy(at, piece.iov_base, piece.iov_len);
      at += piece.iov_len;
    }
    request.status = IoStatus::ok;
    reactor_.schedule(request.waiter);
  }
  UringReactor& reactor_;
  DeviceInfo info_;
  std::byte* const data_;
};

/// The server in a process of its own; returns its id.
pid_t start_server(const std::string& path, std::byte* data) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  set_log_level(LogLevel::warning);
  auto reactor = UringReactor::create({});
  if (!reactor) ::_exit(1);
  SharedDevice device(*reactor.value(), data);
  ListenAddress address;
  address.path = path;
  auto server = VhostUserServer::listen(*reactor.value(), address, {}, "disk", device);
  if (!server) ::_exit(2);
  server.value()->start();
  reactor.value()->run();
  ::_exit(3);
}

class VhostRestart : public testing::TestWithParam<bool> {
 protected:
  struct Outstanding {
    bool busy = false;
    bool write = false;
    uint64_t block = 0;
    uint16_t id = 0;
    uint8_t pattern = 0;
  };

  VhostRestart() : random_(20261123) {
    char name[] = "/tmp/latte-vhost-XXXXXX";
    directory_ = ::mkdtemp(name);
    data_ = static_cast<std::byte*>(::mmap(nullptr, kBlocks * kBlockBytes, PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    if (packed())
      ring_ = std::make_unique<PackedDriver>(memory_, 0, kRingSize);
    else
      ring_ = std::make_unique<SplitDriver>(memory_, 0, kRingSize);
    for (size_t i = 0; i < kSlots; ++i) slots_.emplace_back(memory_, (1u << 20) + i * (16u << 10));
    front_.emplace(directory_ + "/sock");
  }
  ~VhostRestart() override {
    ::munmap(data_, kBlocks * kBlockBytes);
    std::filesystem::remove_all(directory_);
  }
  bool packed() const { return GetParam(); }

  void kill_server() {
    ::kill(server_, SIGKILL);
    int status = 0;
    ::waitpid(server_, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the server ended by itself: " << WEXITSTATUS(status);
  }
  void connect() {
    const uint64_t features = kFeatureProtocol | 1ull << VIRTIO_F_VERSION_1 |
                              1ull << VIRTIO_BLK_F_FLUSH |
                              (packed() ? 1ull << VIRTIO_F_RING_PACKED : 0);
    // A server just killed holds its socket for some milliseconds more: it hangs up then.
    bool agreed = false;
    for (int tries = 0; !agreed && tries < 500; ++tries)
      agreed = front_->connect() && front_->negotiate(features);
    ASSERT_TRUE(agreed);
    InflightDescription inflight{0, 0, 1, kRingSize};
    if (!inflight_fd_.valid()) {
      ASSERT_TRUE(front_->send(static_cast<uint32_t>(Request::get_inflight_fd), &inflight,
                               sizeof(inflight)));
      const auto answer = front_->receive(&inflight_fd_);
      ASSERT_TRUE(answer && answer->size() == sizeof(inflight_) && inflight_fd_.valid());
      std::memcpy(&inflight_, answer->data(), sizeof(inflight_));
    }
    ASSERT_TRUE(front_->set_memory(memory_));
    ASSERT_TRUE(front_->send(static_cast<uint32_t>(Request::set_inflight_fd), &inflight_,
                             sizeof(inflight_), {inflight_fd_.get()}));
    const uint32_t base =
        packed() ? ring_->first_base() : static_cast<SplitDriver&>(*ring_).base_after_crash();
    ASSERT_TRUE(front_->start_ring(0, *ring_, kRingSize, base, kick_.get(), call_.get()));
  }
  void submit_one(size_t index) {
    Outstanding& one = outstanding_[index];
    const uint64_t block = random_.below(kBlocks);
    for (const Outstanding& other : outstanding_)
      if (other.busy && other.block == block) return;  // order between two is not promised
    one.write = random_.chance(1, 2);
    one.block = block;
    one.pattern = static_cast<uint8_t>(random_.between(1, 255));
    std::memset(slots_[index].data, one.write ? one.pattern : 0, kBlockBytes);
    const auto id = ring_->add(slots_[index].prepare(one.write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
                                                     block * 8, kBlockBytes));
    if (!id) return;
    one.busy = true;
    one.id = *id;
    ++submitted_;
  }
  void take_all() {
    while (const auto used = ring_->take_used()) {
      size_t index = 0;
      while (index < kSlots && !(outstanding_[index].busy && outstanding_[index].id == used->id))
        ++index;
      ASSERT_LT(index, kSlots) << "answered twice: " << used->id;
      Outstanding& one = outstanding_[index];
      one.busy = false;
      ++answered_;
      ASSERT_EQ(slots_[index].status(), VIRTIO_BLK_S_OK);
      if (one.write) {
        content_[one.block] = one.pattern;
        ASSERT_EQ(std::to_integer<uint8_t>(data_[one.block * kBlockBytes + 4095]), one.pattern);
        continue;
      }
      ASSERT_EQ(used->length, kBlockBytes + 1);
      ASSERT_EQ(std::to_integer<uint8_t>(slots_[index].data[0]), content_[one.block]);
      ASSERT_EQ(std::to_integer<uint8_t>(slots_[index].data[4095]), content_[one.block]);
    }
  }
  void kick() {
    const uint64_t one = 1;
    (void)!::write(kick_.get(), &one, sizeof(one));
  }
  bool any_busy() const {
    for (const Outstanding& one : outstanding_)
      if (one.busy) return true;
    return false;
  }

  Random random_;
  std::string directory_;
  std::byte* data_ = nullptr;
  pid_t server_ = -1;
  SharedMemory memory_;
  std::optional<FrontEnd> front_;
  std::unique_ptr<DriverRing> ring_;
  UniqueFd kick_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  UniqueFd call_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  UniqueFd inflight_fd_;
  InflightDescription inflight_;
  std::vector<RequestSlot> slots_;
  std::array<Outstanding, kSlots> outstanding_;
  std::array<uint8_t, kBlocks> content_{};
  uint64_t submitted_ = 0;
  uint64_t answered_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Rings, VhostRestart, testing::Bool(), [](const auto& ring) {
  return std::string(ring.param ? "Packed" : "Split");
});

TEST_P(VhostRestart, NothingIsLostOrDoubled) {
  uint64_t found_under_way = 0;
  for (int kills = 0; kills <= kKills; ++kills) {
    server_ = start_server(directory_ + "/sock", data_);
    connect();
    if (HasFatalFailure()) return;
    // The first rounds kill it with nothing, and with the request at index 0 alone, under way.
    const int turns = kills == 0 ? 0 : static_cast<int>(random_.below(60));
    for (int turn = 0; turn <= turns; ++turn) {
      if (kills > 0)
        for (size_t i = 0; i < (kills == 1 ? 1 : kSlots); ++i)
          if (!outstanding_[i].busy) submit_one(i);
      kick();
      if (turn < turns) ::usleep(static_cast<useconds_t>(random_.below(200)));
      take_all();
      if (HasFatalFailure()) return;
    }
    if (kills == kKills) break;
    kill_server();
    if (HasFatalFailure()) return;
    take_all();
    found_under_way += any_busy() ? 1 : 0;
  }
  for (int waits = 0; any_busy() && waits < 1000; ++waits) {
    ::usleep(5000);
    take_all();
    if (HasFatalFailure()) return;
  }
  EXPECT_FALSE(any_busy()) << "requests were lost";
  EXPECT_EQ(answered_, submitted_);
  EXPECT_GT(found_under_way, uint64_t{kKills / 2}) << "the test did not test much";
  kill_server();
}

}  // namespace
}  // namespace latte::vhost::test
