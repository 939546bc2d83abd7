#include "frontend/vhost_user_server.h"

#include "frontend/vhost_user_session.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <functional>
#include <thread>

#include "device/memory_device.h"
#include "runtime/call_on.h"
#include "vhost_front_end.h"

namespace latte::vhost::test {
namespace {

constexpr uint64_t kDeviceBytes = 8u << 20;
constexpr uint16_t kRingSize = 16;
constexpr uint64_t kBasicFeatures = kFeatureProtocol | 1ull << VIRTIO_F_VERSION_1 |
                                    1ull << VIRTIO_BLK_F_FLUSH |
                                    1ull << VIRTIO_RING_F_INDIRECT_DESC;
constexpr uint64_t kPacked = 1ull << VIRTIO_F_RING_PACKED;

class VhostServerTest : public testing::TestWithParam<bool> {
 protected:
  VhostServerTest() : device_(kDeviceBytes) {
    char name[] = "/tmp/latte-vhost-XXXXXX";
    directory_ = ::mkdtemp(name);
    auto reactor = UringReactor::create({});
    EXPECT_TRUE(reactor.ok());
    reactor_ = reactor.take();
    ListenAddress address;
    address.path = directory_ + "/sock";
    auto server = VhostUserServer::listen(*reactor_, address, {}, "disk", device_);
    EXPECT_TRUE(server.ok());
    server_ = server.take();
    thread_ = std::thread([this] {
      reactor_->run();
      reactor_->shutdown();
    });
    call_on(*reactor_, [this] { server_->start(); });
    front_.emplace(address.path);
    for (size_t i = 0; i < 8; ++i) slots_.emplace_back(memory_, (1u << 20) + i * (256u << 10));
  }
  ~VhostServerTest() override {
    call_on(*reactor_, [this] { return server_->stop(); });
    reactor_->stop();
    thread_.join();
    server_.reset();
    std::filesystem::remove_all(directory_);
  }
  void set_up(uint64_t features) {
    const bool packed = (features & kPacked) != 0;
    if (packed)
      ring_ = std::make_unique<PackedDriver>(memory_, 0, kRingSize);
    else
      ring_ = std::make_unique<SplitDriver>(memory_, 0, kRingSize);
    ASSERT_TRUE(front_->connect());
    ASSERT_TRUE(front_->negotiate(features));
    ASSERT_TRUE(front_->set_memory(memory_));
    ASSERT_TRUE(
        front_->start_ring(0, *ring_, kRingSize, ring_->first_base(), kick_.get(), call_.get()));
  }
  void set_up() { set_up(kBasicFeatures | (GetParam() ? kPacked : 0)); }
  void kick() {
    const uint64_t one = 1;
    ASSERT_EQ(::write(kick_.get(), &one, sizeof(one)), ssize_t{sizeof(one)});
  }
  /// Waits for the call, as a driver that sleeps does.
  Used wait_used() {
    for (;;) {
      if (const auto used = ring_->take_used()) return *used;
      pollfd ready{call_.get(), POLLIN, 0};
      if (::poll(&ready, 1, kAnswerMs) != 1) {
        ADD_FAILURE() << "no answer";
        return {};
      }
      uint64_t count;
      EXPECT_EQ(::read(call_.get(), &count, sizeof(count)), ssize_t{sizeof(count)});
    }
  }
  uint8_t run(const std::vector<Buffer>& buffers, uint32_t* written = nullptr) {
    const auto id = ring_->add(buffers);
    EXPECT_TRUE(id.has_value());
    kick();
    const Used used = wait_used();
    EXPECT_EQ(used.id, id.value_or(0));
    if (written != nullptr) *written = used.length;
    return slots_[0].status();
  }

  std::string directory_;
  MemoryDevice device_;
  std::unique_ptr<UringReactor> reactor_;
  std::unique_ptr<VhostUserServer> server_;
  std::thread thread_;
  SharedMemory memory_;
  std::optional<FrontEnd> front_;
  std::unique_ptr<DriverRing> ring_;
  UniqueFd kick_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  UniqueFd call_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  std::vector<RequestSlot> slots_;
};
INSTANTIATE_TEST_SUITE_P(Rings, VhostServerTest, testing::Bool(), [](const auto& ring) {
  return std::string(ring.param ? "Packed" : "Split");
});

TEST_P(VhostServerTest, WritesReadsFlushes) {
  set_up();
  RequestSlot& slot = slots_[0];
  for (uint64_t round = 0; round < 100; ++round) {
    const auto byte = static_cast<int>(round + 1);
    std::memset(slot.data, byte, 8192);
    ASSERT_EQ(run(slot.prepare(VIRTIO_BLK_T_OUT, round * 8, 8192)), VIRTIO_BLK_S_OK);
    std::memset(slot.data, 0, 8192);
    uint32_t written = 0;
    ASSERT_EQ(run(slot.prepare(VIRTIO_BLK_T_IN, round * 8, 8192), &written), VIRTIO_BLK_S_OK);
    EXPECT_EQ(written, 8193u);
    EXPECT_EQ(std::to_integer<int>(slot.data[8191]), byte);
    ASSERT_EQ(run(slot.prepare(VIRTIO_BLK_T_FLUSH, 0, 0)), VIRTIO_BLK_S_OK);
  }
}

TEST_P(VhostServerTest, IndirectTablesAndOddPieces) {
  set_up();
  RequestSlot& slot = slots_[0];
  const std::vector<Buffer> direct = slot.prepare(VIRTIO_BLK_T_OUT, 3, 1536);
  // Header and data cut where nobody would cut them; the header runs into the data.
  std::vector<Buffer> cut{{direct[0].address, 7, false}, {direct[0].address + 7, 9, false}};
  cut.push_back({direct[1].address, 100, false});
  cut.push_back({direct[1].address + 100, 1436, false});
  cut.push_back(direct[2]);
  std::byte* table = slots_[1].data;
  for (size_t i = 0; i < cut.size(); ++i) {
    const uint16_t write = cut[i].writable ? VRING_DESC_F_WRITE : 0;
    const auto next = static_cast<uint16_t>(i + 1);
    const vring_packed_desc packed{cut[i].address, cut[i].length, 0, write};
    const vring_desc split{
        cut[i].address, cut[i].length,
        static_cast<uint16_t>(write | (next < cut.size() ? VRING_DESC_F_NEXT : 0)), next};
    if (GetParam())
      std::memcpy(table + i * sizeof(packed), &packed, sizeof(packed));
    else
      std::memcpy(table + i * sizeof(split), &split, sizeof(split));
  }
  std::memset(slot.data, 0x5a, 1536);
  const uint32_t bytes = static_cast<uint32_t>(cut.size() * sizeof(vring_desc));
  EXPECT_EQ(run({{guest_address(memory_, table), bytes, false, true}}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(std::to_integer<int>(device_.data()[3 * 512 + 1535]), 0x5a);
}

TEST_P(VhostServerTest, DiscardWriteZeroesGetIdAndNonsense) {
  set_up();
  RequestSlot& slot = slots_[0];
  std::memset(device_.data(), 7, 65536);
  const auto range = [&](uint64_t sector, uint32_t sectors, uint32_t flags) {
    std::memcpy(slot.data, &sector, 8);
    std::memcpy(slot.data + 8, &sectors, 4);
    std::memcpy(slot.data + 12, &flags, 4);
  };
  range(8, 8, 0);
  EXPECT_EQ(run(slot.prepare(VIRTIO_BLK_T_DISCARD, 0, 16)), VIRTIO_BLK_S_OK);
  range(24, 8, 1);
  EXPECT_EQ(run(slot.prepare(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16)), VIRTIO_BLK_S_OK);
  EXPECT_EQ(std::to_integer<int>(device_.data()[4095]), 7);
  EXPECT_EQ(std::to_integer<int>(device_.data()[4096]), 0);
  EXPECT_EQ(std::to_integer<int>(device_.data()[24 * 512]), 0);
  range(8, 8, 2);
  EXPECT_EQ(run(slot.prepare(VIRTIO_BLK_T_DISCARD, 0, 16)), VIRTIO_BLK_S_UNSUPP);
  range(UINT64_MAX, 8, 0);
  EXPECT_EQ(run(slot.prepare(VIRTIO_BLK_T_DISCARD, 0, 16)), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(run(slot.prepare(VIRTIO_BLK_T_DISCARD, 0, 15)), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(run(slot.prepare(VIRTIO_BLK_T_GET_ID, 0, 20)), VIRTIO_BLK_S_OK);
  EXPECT_STREQ(reinterpret_cast<const char*>(slot.data), "disk");
  EXPECT_EQ(run(slot.prepare(VIRTIO_BLK_T_IN, kDeviceBytes / 512, 512)), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(run(slot.prepare(VIRTIO_BLK_T_IN, UINT64_MAX, 512)), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(run(slot.prepare(VIRTIO_BLK_T_IN, 0, 511)), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(run(slot.prepare(99, 0, 512)), VIRTIO_BLK_S_UNSUPP);
}

TEST_P(VhostServerTest, StopsAndGoesOnAtItsBase) {
  set_up();
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(run(slots_[0].prepare(VIRTIO_BLK_T_FLUSH, 0, 0)), VIRTIO_BLK_S_OK);
    const auto base = front_->stop_ring(0);
    ASSERT_TRUE(base.has_value());
    ASSERT_TRUE(front_->start_ring(0, *ring_, kRingSize, *base, kick_.get(), call_.get()));
  }
}

TEST_P(VhostServerTest, SecondFrontEndIsTurnedAwayAndComesLater) {
  set_up();
  EXPECT_EQ(run(slots_[0].prepare(VIRTIO_BLK_T_FLUSH, 0, 0)), VIRTIO_BLK_S_OK);
  FrontEnd second(directory_ + "/sock");
  ASSERT_TRUE(second.connect());
  EXPECT_TRUE(second.hung_up());
  front_->disconnect();
  ASSERT_TRUE(second.connect());
  EXPECT_TRUE(second.ask(Request::get_features).has_value());
}

TEST_P(VhostServerTest, MemoryRegionsComeAndGo) {
  set_up();
  SharedMemory more(1u << 20);
  struct {
    uint64_t padding = 0;
    RegionDescription region;
  } message;
  message.region = more.description(kGuestBase + kMemoryBytes);
  const auto acknowledged = [&](Request request, std::vector<int> fds) {
    if (!front_->send(static_cast<uint32_t>(request), &message, sizeof(message), fds,
                      kFlagVersion | kFlagNeedReply))
      return false;
    const auto answer = front_->receive();
    uint64_t number = 1;
    if (answer && answer->size() == 8) std::memcpy(&number, answer->data(), 8);
    return number == 0;
  };
  ASSERT_TRUE(acknowledged(Request::add_mem_reg, {more.fd()}));
  std::vector<Buffer> buffers = slots_[0].prepare(VIRTIO_BLK_T_OUT, 0, 4096);
  buffers[1].address = kGuestBase + kMemoryBytes;
  std::memset(more.data(), 0x42, 4096);
  EXPECT_EQ(run(buffers), VIRTIO_BLK_S_OK);
  EXPECT_EQ(std::to_integer<int>(device_.data()[4095]), 0x42);
  EXPECT_FALSE(acknowledged(Request::add_mem_reg, {more.fd()}));  // overlaps itself
  message.region.size += 4096;
  message.region.guest_address += 1u << 20;
  EXPECT_FALSE(acknowledged(Request::add_mem_reg, {more.fd()}));  // longer than its file
  message.region = more.description(kGuestBase + kMemoryBytes);
  ASSERT_TRUE(acknowledged(Request::rem_mem_reg, {}));
  // Outside now: the queue is broken, the connection and the server are not.
  ASSERT_TRUE(ring_->add(buffers).has_value());
  kick();
  EXPECT_EQ(front_->ask(Request::get_queue_num), 4u);
}

TEST_P(VhostServerTest, MessagesOutOfOrderAndWrongSizes) {
  ASSERT_TRUE(front_->connect());
  const UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  const auto still_there = [&] { return front_->ask(Request::get_queue_num).has_value(); };
  EXPECT_TRUE(still_there());
  ASSERT_TRUE(front_->send_fd(Request::set_vring_kick, 0, event.get()));  // nothing set up
  EXPECT_TRUE(front_->hung_up());
  const uint64_t number = 0;
  for (const uint32_t request : {0u, 6u, 22u, 41u, 9999u}) {
    ASSERT_TRUE(front_->connect());
    ASSERT_TRUE(front_->send(request, &number, sizeof(number)));
    EXPECT_TRUE(front_->hung_up()) << request;
  }
  for (const size_t size : {0u, 7u, 9u, 100u}) {
    std::vector<std::byte> payload(size);
    ASSERT_TRUE(front_->connect());
    ASSERT_TRUE(front_->send(static_cast<uint32_t>(Request::set_features), payload.data(), size));
    EXPECT_TRUE(front_->hung_up()) << size;
  }
  ASSERT_TRUE(front_->connect());
  ASSERT_TRUE(front_->send_ring(Request::set_vring_num, 77, 16));
  EXPECT_TRUE(front_->hung_up());
  ASSERT_TRUE(front_->connect());
  ASSERT_TRUE(front_->send_ring(Request::set_vring_num, 0, 1u << 20));
  EXPECT_TRUE(front_->hung_up());
  ASSERT_TRUE(front_->connect());
  ASSERT_TRUE(front_->send(Request::set_features, ~0ull));
  EXPECT_TRUE(front_->hung_up());
  ASSERT_TRUE(front_->connect());
  EXPECT_TRUE(still_there());
}

TEST_P(VhostServerTest, TruncatedGuestMemoryHarmsOnlyItself) {
  set_up();
  RequestSlot& slot = slots_[0];
  EXPECT_EQ(run(slot.prepare(VIRTIO_BLK_T_FLUSH, 0, 0)), VIRTIO_BLK_S_OK);
  std::vector<Buffer> buffers = slot.prepare(VIRTIO_BLK_T_OUT, 0, 4096);
  buffers[1].address = kGuestBase + kMemoryBytes - 4096;
  ASSERT_EQ(::ftruncate(memory_.fd(), kMemoryBytes - 4096), 0);
  EXPECT_EQ(run(buffers), VIRTIO_BLK_S_OK);  // zeroes, and the server lives
  front_->disconnect();
  FrontEnd other(directory_ + "/sock");
  ASSERT_TRUE(other.connect());
}

TEST_P(VhostServerTest, ConfigurationSpaceAndItsChange) {
  ASSERT_TRUE(front_->connect());
  ASSERT_TRUE(front_->negotiate(kBasicFeatures));
  struct {
    ConfigAccess access;
    virtio_blk_config config;
  } message{};
  message.access.size = sizeof(virtio_blk_config);
  ASSERT_TRUE(front_->send(static_cast<uint32_t>(Request::get_config), &message, sizeof(message)));
  const auto answer = front_->receive();
  ASSERT_TRUE(answer && answer->size() == sizeof(message));
  std::memcpy(&message, answer->data(), sizeof(message));
  EXPECT_EQ(message.config.capacity, kDeviceBytes / 512);
  EXPECT_EQ(message.config.num_queues, 4);
  EXPECT_EQ(message.config.seg_max, kSegMax);
  int channel[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel), 0);
  const UniqueFd ours(channel[0]);
  const UniqueFd theirs(channel[1]);
  ASSERT_TRUE(
      front_->send(static_cast<uint32_t>(Request::set_backend_req_fd), nullptr, 0, {theirs.get()}));
  ASSERT_TRUE(front_->ask(Request::get_queue_num).has_value());
  call_on(*reactor_, [this] { server_->notify_config_changed(); });
  Header note;
  ASSERT_EQ(::recv(ours.get(), &note, sizeof(note), MSG_WAITALL), ssize_t{sizeof(note)});
  EXPECT_EQ(note.request, kBackendConfigChange);
}

// The driver's wishes: with event indexes it is called once for a batch it asked about, and kicks
// only when the server sleeps.
TEST_P(VhostServerTest, EventIndexCallsOnceForABatch) {
  set_up(kBasicFeatures | 1ull << VIRTIO_RING_F_EVENT_IDX | (GetParam() ? kPacked : 0));
  for (uint16_t round = 0; round < 40; ++round) {
    std::array<std::optional<uint16_t>, 4> ids;
    // Called when the fourth of these is done, not before.
    if (GetParam()) {
      const auto end = static_cast<uint32_t>(round * 8 + 6);
      const auto place = static_cast<uint16_t>(end % kRingSize);
      const bool wrap = end / kRingSize % 2 == 0;
      auto* event = reinterpret_cast<uint16_t*>(
          memory_.data() +
          (ring_->addresses(0).available - reinterpret_cast<uint64_t>(memory_.data())));
      store_once(event, static_cast<uint16_t>(place | (wrap ? 0x8000 : 0)));
      store_release(event + 1, uint16_t{VRING_PACKED_EVENT_FLAG_DESC});
    } else {
      store_release(static_cast<SplitDriver&>(*ring_).available() + 2 + kRingSize,
                    static_cast<uint16_t>(round * 4 + 3));
    }
    for (size_t i = 0; i < ids.size(); ++i) {
      ids[i] = ring_->add(slots_[i].prepare(VIRTIO_BLK_T_FLUSH, 0, 0));
      ASSERT_TRUE(ids[i].has_value());
    }
    kick();
    pollfd ready{call_.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&ready, 1, kAnswerMs), 1) << round;
    uint64_t calls = 0;
    ASSERT_EQ(::read(call_.get(), &calls, sizeof(calls)), ssize_t{sizeof(calls)});
    EXPECT_LE(calls, round == 0 ? 2u : 1u);  // one more when the call descriptor was set
    for (size_t i = 0; i < ids.size(); ++i) EXPECT_TRUE(ring_->take_used().has_value()) << round;
  }
}

class VhostHostileRing : public VhostServerTest {
 protected:
  void break_it(const std::function<void(SplitDriver&)>& attack) {
    set_up(kBasicFeatures);
    attack(static_cast<SplitDriver&>(*ring_));
    kick();
    // It answers messages, stops, and the next front-end has a working device.
    EXPECT_EQ(front_->ask(Request::get_queue_num), 4u);
    EXPECT_TRUE(front_->stop_ring(0).has_value());
    front_->disconnect();
    std::memset(memory_.data(), 0, 4096);
    set_up(kBasicFeatures);
    EXPECT_EQ(run(slots_[0].prepare(VIRTIO_BLK_T_FLUSH, 0, 0)), VIRTIO_BLK_S_OK);
  }
};
INSTANTIATE_TEST_SUITE_P(Split, VhostHostileRing, testing::Values(false));

TEST_P(VhostHostileRing, Loop) {
  break_it([](SplitDriver& ring) {
    ring.descriptors()[0] = {kGuestBase, 16, VRING_DESC_F_NEXT, 0};
    ring.offer(0);
  });
}
TEST_P(VhostHostileRing, NumberBeyondTheTable) {
  break_it([](SplitDriver& ring) { ring.offer(kRingSize); });
}
TEST_P(VhostHostileRing, IndexJumps) {
  break_it([](SplitDriver& ring) { store_release(ring.available() + 1, uint16_t{5000}); });
}
TEST_P(VhostHostileRing, OutsideMemory) {
  break_it([](SplitDriver& ring) {
    ring.descriptors()[0] = {UINT64_MAX - 8, 16, 0, 0};
    ring.offer(0);
  });
}
TEST_P(VhostHostileRing, HugeLength) {
  break_it([](SplitDriver& ring) {
    ring.descriptors()[0] = {kGuestBase, UINT32_MAX, 0, 0};
    ring.offer(0);
  });
}
TEST_P(VhostHostileRing, ZeroLength) {
  break_it([](SplitDriver& ring) {
    ring.descriptors()[0] = {kGuestBase, 0, VRING_DESC_F_WRITE, 0};
    ring.offer(0);
  });
}
TEST_P(VhostHostileRing, ReadableAfterWritable) {
  break_it([](SplitDriver& ring) {
    ring.descriptors()[0] = {kGuestBase, 16, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1};
    ring.descriptors()[1] = {kGuestBase, 16, 0, 0};
    ring.offer(0);
  });
}
TEST_P(VhostHostileRing, NoStatus) {
  break_it([](SplitDriver& ring) {
    ring.descriptors()[0] = {kGuestBase, 16, 0, 0};
    ring.offer(0);
  });
}
TEST_P(VhostHostileRing, IndirectInIndirect) {
  break_it([this](SplitDriver& ring) {
    auto* table = reinterpret_cast<Descriptor*>(slots_[1].data);
    table[0] = {kGuestBase, 16, VRING_DESC_F_INDIRECT, 0};
    ring.descriptors()[0] = {guest_address(memory_, table), 16, VRING_DESC_F_INDIRECT, 0};
    ring.offer(0);
  });
}

TEST_P(VhostHostileRing, ChainBeyondTheLimit) {
  break_it([this](SplitDriver& ring) {
    constexpr uint16_t kEntries = kMaxChainDescriptors + 1;
    auto* table = reinterpret_cast<Descriptor*>(slots_[1].data);
    for (uint16_t i = 0; i < kEntries; ++i)
      table[i] = {kGuestBase, 16, VRING_DESC_F_NEXT, static_cast<uint16_t>(i + 1)};
    ring.descriptors()[0] = {guest_address(memory_, table), kEntries * sizeof(Descriptor),
                             VRING_DESC_F_INDIRECT, 0};
    ring.offer(0);
  });
}
TEST_P(VhostHostileRing, LoopInATable) {
  break_it([this](SplitDriver& ring) {
    auto* table = reinterpret_cast<Descriptor*>(slots_[1].data);
    table[0] = {kGuestBase, 16, VRING_DESC_F_NEXT, 1};
    table[1] = {kGuestBase, 16, VRING_DESC_F_NEXT, 0};
    ring.descriptors()[0] = {guest_address(memory_, table), 32, VRING_DESC_F_INDIRECT, 0};
    ring.offer(0);
  });
}
TEST_P(VhostHostileRing, TheSameBufferTwice) {
  break_it([this](SplitDriver& ring) {
    const auto buffers = slots_[0].prepare(VIRTIO_BLK_T_IN, 0, 4096);
    const auto id = ring.add(buffers);
    ring.offer(*id);
  });
}

// What comes with a message is missing, too much, or no eventfd: that connection ends, or is told.
TEST_P(VhostServerTest, DescriptorsMissingOrOfTheWrongKind) {
  const UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const UniqueFd pipe_read(pipe[0]);
  const UniqueFd pipe_write(pipe[1]);
  struct {
    uint32_t count = 1;
    uint32_t padding = 0;
    RegionDescription region;
  } table;
  table.region = memory_.description();
  const auto refused = [&](Request request, const void* payload, size_t size,
                           std::vector<int> fds) {
    return front_->connect() && front_->negotiate(kBasicFeatures) &&
           front_->send(static_cast<uint32_t>(request), payload, size, std::move(fds)) &&
           front_->hung_up();
  };
  const uint64_t ring_zero = 0;
  const uint64_t without_fd = 1u << 8;
  EXPECT_TRUE(refused(Request::set_mem_table, &table, sizeof(table), {}));
  EXPECT_TRUE(refused(Request::set_mem_table, &table, sizeof(table), {memory_.fd(), memory_.fd()}));
  EXPECT_TRUE(refused(Request::set_mem_table, &table, sizeof(table), {pipe_read.get()}));
  EXPECT_TRUE(refused(Request::set_mem_table, &table, sizeof(table), {event.get()}));
  EXPECT_TRUE(refused(Request::set_mem_table, &table, sizeof(table),
                      std::vector<int>(kMaxDescriptors + 1, memory_.fd())));
  EXPECT_TRUE(refused(Request::set_vring_kick, &ring_zero, sizeof(ring_zero), {}));
  EXPECT_TRUE(refused(Request::set_vring_kick, &without_fd, sizeof(without_fd), {}));
  EXPECT_TRUE(refused(Request::set_vring_kick, &ring_zero, sizeof(ring_zero), {pipe_read.get()}));
  EXPECT_TRUE(refused(Request::set_vring_call, &ring_zero, sizeof(ring_zero), {memory_.fd()}));
  EXPECT_TRUE(refused(Request::set_backend_req_fd, nullptr, 0, {}));
  InflightDescription inflight{1u << 20, 0, 1, kRingSize};
  EXPECT_TRUE(refused(Request::set_inflight_fd, &inflight, sizeof(inflight), {}));
  EXPECT_TRUE(refused(Request::set_inflight_fd, &inflight, sizeof(inflight), {event.get()}));
  // More memory than the file has, and an end beyond 2^64.
  table.region.size = kMemoryBytes + 4096;
  EXPECT_TRUE(refused(Request::set_mem_table, &table, sizeof(table), {memory_.fd()}));
  table.region.guest_address = UINT64_MAX - 4096;
  EXPECT_TRUE(refused(Request::set_mem_table, &table, sizeof(table), {memory_.fd()}));
  set_up();
  EXPECT_EQ(run(slots_[0].prepare(VIRTIO_BLK_T_FLUSH, 0, 0)), VIRTIO_BLK_S_OK);
}

// One that says nothing, or half a message, does not keep others out for ever.
TEST_P(VhostServerTest, SilentFrontEndsAreSentAway) {
  constexpr int kPatienceMs = static_cast<int>((kFirstMessageNs + kSecond) / kMillisecond);
  FrontEnd half(directory_ + "/sock");
  ASSERT_TRUE(half.connect());
  const Header header{static_cast<uint32_t>(Request::set_features), kFlagVersion, 8};
  ASSERT_EQ(::send(half.fd(), &header, sizeof(header), 0), ssize_t{sizeof(header)});
  pollfd ready{half.fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&ready, 1, kPatienceMs), 1);
  EXPECT_TRUE(half.hung_up());
  if (GetParam()) return;  // once is enough
  FrontEnd silent(directory_ + "/sock");
  ASSERT_TRUE(silent.connect());
  ready.fd = silent.fd();
  EXPECT_EQ(::poll(&ready, 1, kPatienceMs), 1);
  EXPECT_TRUE(silent.hung_up());
  set_up();
  EXPECT_EQ(run(slots_[0].prepare(VIRTIO_BLK_T_FLUSH, 0, 0)), VIRTIO_BLK_S_OK);
}

}  // namespace
}  // namespace latte::vhost::test
