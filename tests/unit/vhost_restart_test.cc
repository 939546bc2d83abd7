// A server that is killed, or stops in order and is replaced, again and again under load: what a
// front-end that reconnects sees. The device's blocks are in shared memory, as a disk's would
// survive; requests take a while and end in any order, so that each end finds some of them under
// way. As QEMU does, the front-end looks at the used index when it sees the hang-up, and gives that
// to the next server as the ring's base.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <utility>

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
constexpr int kReplacements = 60;
constexpr int kDepartures = 60;

int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

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

UringReactor* child_reactor = nullptr;

Task<void> stop_in_order(UringReactor& reactor, VhostUserServer& server) {
  co_await server.stop();
  reactor.stop();
}

/// The server in a process of its own, until SIGTERM; returns its id.
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
  child_reactor = reactor.value().get();
  ::signal(SIGTERM, [](int) { child_reactor->stop(); });
  reactor.value()->run();
  reactor.value()->spawn(stop_in_order(*reactor.value(), *server.value()));
  reactor.value()->run();
  ::_exit(0);
}

enum class Ring : uint8_t { split, packed, split_untracked };

class VhostRestart : public testing::TestWithParam<Ring> {
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
    base_ = ring_->first_base();
    for (size_t i = 0; i < kSlots; ++i) slots_.emplace_back(memory_, (1u << 20) + i * (16u << 10));
    front_.emplace(directory_ + "/sock");
  }
  ~VhostRestart() override {
    if (server_ > 0) ::kill(server_, SIGKILL);
    ::munmap(data_, kBlocks * kBlockBytes);
    std::filesystem::remove_all(directory_);
  }
  bool packed() const { return GetParam() == Ring::packed; }
  bool tracked() const { return GetParam() != Ring::split_untracked; }

  /// What the next server is told of where the ring stands.
  uint32_t base_now() const {
    return packed() ? ring_->first_base() : static_cast<SplitDriver&>(*ring_).base_after_crash();
  }
  void kill_server() {
    const pid_t server = std::exchange(server_, -1);
    ::kill(server, SIGKILL);
    int status = 0;
    ::waitpid(server, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the server ended by itself: " << WEXITSTATUS(status);
    base_ = base_now();
  }
  /// In order; the driver goes on meanwhile.
  void stop_server() {
    const pid_t server = std::exchange(server_, -1);
    ::kill(server, SIGTERM);
    pollfd hang_up{front_->fd(), POLLIN, 0};
    while (::poll(&hang_up, 1, 0) == 0) {
      submit_up_to(kSlots);
      take_all();
      if (HasFatalFailure()) return;
    }
    base_ = base_now();
    submit_up_to(kSlots);
    int status = 0;
    ::waitpid(server, &status, 0);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
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
    ASSERT_TRUE(front_->set_memory(memory_));
    if (tracked()) set_inflight();
    if (HasFatalFailure()) return;
    ASSERT_TRUE(front_->start_ring(0, *ring_, kRingSize, base_, kick_.get(), call_.get()));
  }
  /// The first server makes the region, the others get it.
  void set_inflight() {
    InflightDescription inflight{0, 0, 1, kRingSize};
    if (!inflight_fd_.valid()) {
      ASSERT_TRUE(front_->send(static_cast<uint32_t>(Request::get_inflight_fd), &inflight,
                               sizeof(inflight)));
      const auto answer = front_->receive(&inflight_fd_);
      ASSERT_TRUE(answer && answer->size() == sizeof(inflight_) && inflight_fd_.valid());
      std::memcpy(&inflight_, answer->data(), sizeof(inflight_));
    }
    ASSERT_TRUE(front_->send(static_cast<uint32_t>(Request::set_inflight_fd), &inflight_,
                             sizeof(inflight_), {inflight_fd_.get()}));
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
  void submit_up_to(size_t depth) {
    for (size_t i = 0; i < depth; ++i)
      if (!outstanding_[i].busy) submit_one(i);
    kick();
  }
  /// Keeps up to `depth` requests under way for a while.
  void run_load(size_t depth) {
    const int turns = depth == 0 ? 0 : static_cast<int>(random_.below(60));
    for (int turn = 0; turn <= turns; ++turn) {
      submit_up_to(depth);
      if (turn < turns) ::usleep(static_cast<useconds_t>(random_.below(200)));
      take_all();
      if (HasFatalFailure()) return;
    }
  }
  /// Everything is answered in the end.
  void finish() {
    for (int waits = 0; any_busy() && waits < 1000; ++waits) {
      ::usleep(5000);
      take_all();
      if (HasFatalFailure()) return;
    }
    EXPECT_FALSE(any_busy()) << "requests were lost";
    EXPECT_EQ(answered_, submitted_);
    kill_server();
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
  uint32_t base_ = 0;
  std::vector<RequestSlot> slots_;
  std::array<Outstanding, kSlots> outstanding_;
  std::array<uint8_t, kBlocks> content_{};
  uint64_t submitted_ = 0;
  uint64_t answered_ = 0;
};
using VhostKill = VhostRestart;
using VhostReplace = VhostRestart;
std::string name_of(const testing::TestParamInfo<Ring>& ring) {
  if (ring.param == Ring::split_untracked) return "SplitUntracked";
  return ring.param == Ring::packed ? "Packed" : "Split";
}
INSTANTIATE_TEST_SUITE_P(Rings, VhostKill, testing::Values(Ring::split, Ring::packed), name_of);
// Where a packed ring stands is in the inflight region alone.
INSTANTIATE_TEST_SUITE_P(Rings, VhostReplace,
                         testing::Values(Ring::split, Ring::packed, Ring::split_untracked),
                         name_of);

TEST_P(VhostKill, NothingIsLostOrDoubled) {
  uint64_t found_under_way = 0;
  for (int kills = 0; kills <= kKills; ++kills) {
    server_ = start_server(directory_ + "/sock", data_);
    connect();
    if (HasFatalFailure()) return;
    // The first rounds kill it with nothing, and with the request at index 0 alone, under way.
    run_load(kills == 0 ? 0 : kills == 1 ? 1 : kSlots);
    if (HasFatalFailure()) return;
    if (kills == kKills) break;
    kill_server();
    if (HasFatalFailure()) return;
    take_all();
    found_under_way += any_busy() ? 1 : 0;
  }
  finish();
  EXPECT_GT(found_under_way, uint64_t{kKills / 2}) << "the test did not test much";
}

// A server that stops in order finishes what is under way; what its front-end sees when it hangs up
// must let the next one go on there.
TEST_P(VhostReplace, NothingIsLostOrDoubled) {
  uint64_t found_under_way = 0;
  for (int replacements = 0; replacements <= kReplacements; ++replacements) {
    server_ = start_server(directory_ + "/sock", data_);
    connect();
    if (HasFatalFailure()) return;
    run_load(kSlots);
    if (HasFatalFailure()) return;
    if (replacements == kReplacements) break;
    found_under_way += any_busy() ? 1 : 0;
    stop_server();
    if (HasFatalFailure()) return;
    take_all();
  }
  finish();
  EXPECT_GT(found_under_way, uint64_t{kReplacements / 2}) << "the test did not test much";
}

// The front-end closes the connection in the middle and looks at the used index before the server
// has given back the last requests.
TEST_P(VhostKill, FrontEndLeavesAndComesBack) {
  uint64_t answered_late = 0;
  server_ = start_server(directory_ + "/sock", data_);
  for (int departures = 0; departures <= kDepartures; ++departures) {
    connect();
    if (HasFatalFailure()) return;
    uint64_t answered = answered_;
    for (int tries = 0; answered_ == answered && tries < 1000; ++tries) {
      run_load(kSlots);
      if (HasFatalFailure()) return;
    }
    ASSERT_GT(answered_, answered) << "the queue is not served any more";
    if (departures == kDepartures) break;
    front_->disconnect();
    base_ = base_now();
    answered = answered_;
    for (const int64_t end = now_ns() + kSecond / 10; answered_ == answered && now_ns() < end;) {
      submit_up_to(kSlots);
      take_all();
      if (HasFatalFailure()) return;
    }
    answered_late += answered_ > answered ? 1 : 0;
  }
  finish();
  EXPECT_GT(answered_late, uint64_t{kDepartures / 2}) << "the test did not test much";
}

}  // namespace
}  // namespace latte::vhost::test
