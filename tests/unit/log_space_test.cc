// SegmentSpace and LogStream: segments are handed out once, appends complete in order, group
// commit, the reserve, and what recovery gets back.
#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "device/memory_device.h"
#include "disk_test_support.h"
#include "log/log_stream.h"
#include "log/recovery.h"
#include "log/segment_space.h"

namespace latte::log {
namespace {

using test::run;

constexpr uint64_t kSegmentBytes = 64u << 10;
constexpr uint64_t kSegments = 6;
constexpr uint32_t kMaxData = 4;

/// Device in memory that counts, and fails when asked to.
class CountingDevice final : public BlockDevice {
 public:
  const DeviceInfo& info() const override { return memory.info(); }
  bool submit(IoRequest& request) override {
    if (request.op == IoOp::write) ++writes;
    if (request.op == IoOp::flush) ++flushes;
    if (fail_writes && request.op == IoOp::write) {
      request.status = IoStatus::io_error;
      return false;
    }
    return memory.submit(request);
  }
  MemoryDevice memory{(kSegments + 1) * kSegmentBytes};
  unsigned writes = 0;
  unsigned flushes = 0;
  bool fail_writes = false;
};

class LogSpaceTest : public ::testing::Test {
 protected:
  LogSpaceTest() {
    SegmentSpace::Options options;
    options.segment_bytes = kSegmentBytes;
    options.space_id = Uuid::from_random(1, 2);
    EXPECT_TRUE(run(world, reactor, SegmentSpace::format(device, options)).ok());
    space = open();
    space->streams()[0].disk_id = disk_id;
    EXPECT_EQ(run(world, reactor, space->write_super()), IoStatus::ok);
  }
  std::unique_ptr<SegmentSpace> open() {
    auto opened = run(world, reactor, SegmentSpace::open(reactor, device, SpaceKind::pool, false));
    EXPECT_TRUE(opened.ok());
    return opened.take();
  }
  std::unique_ptr<LogStream> stream() {
    LogStream::Options options;
    options.disk_id = disk_id;
    options.generation = 1;
    return std::make_unique<LogStream>(reactor, *space, options, account);
  }
  /// Makes `append` a write of a few blocks.
  void set(Append& append, uint64_t seq, uint32_t blocks = 1) {
    append.entry = Entry{seq, seq % 50, blocks, EntryKind::data, 0, {}};
    append.data = memory.data();
  }
  void settle() { (void)world.run_for(kSecond); }

  sim::World world{1};
  sim::SimReactor reactor{world, "host", 0};
  CountingDevice device;
  const Uuid disk_id = Uuid::from_random(3, 4);
  Buffer memory{kMaxData * kBlockBytes};
  WriteAccount account;
  std::unique_ptr<SegmentSpace> space;
};

TEST_F(LogSpaceTest, EverySegmentIsHandedOutOnce) {
  std::set<uint32_t> taken;
  uint32_t segment = 0;
  while (space->allocate(segment)) EXPECT_TRUE(taken.insert(segment).second);
  EXPECT_EQ(taken.size(), kSegments);
  EXPECT_EQ(space->free_segments(), 0u);
  space->release(3);
  ASSERT_TRUE(space->allocate(segment));
  EXPECT_EQ(segment, 3u);
  EXPECT_FALSE(space->allocate(segment));
}

TEST_F(LogSpaceTest, ASegmentThatIsReadIsNotHandedOut) {
  uint32_t segment = 0;
  while (space->allocate(segment)) {
  }
  {
    const SegmentSpace::Pin pin(*space, 2);
    space->release(2);
    EXPECT_FALSE(space->allocate(segment));
  }
  EXPECT_TRUE(space->allocate(segment));
}

TEST_F(LogSpaceTest, AClaimedSegmentIsNotHandedOut) {
  space->claim(0);
  uint32_t segment = 0;
  ASSERT_TRUE(space->allocate(segment));
  EXPECT_EQ(segment, 1u);
}

TEST_F(LogSpaceTest, TheSuperblockSurvivesTheLossOfEitherCopy) {
  space->streams()[0].tail_order = 7;
  ASSERT_EQ(run(world, reactor, space->write_super()), IoStatus::ok);
  std::vector<std::byte> copies(device.memory.data(), device.memory.data() + 2 * kBlockBytes);
  std::set<uint64_t> tails;
  for (const size_t broken : {0u, 1u}) {
    std::memcpy(device.memory.data(), copies.data(), copies.size());
    device.memory.data()[broken * kBlockBytes + 20] ^= std::byte{1};
    tails.insert(open()->streams()[0].tail_order);
  }
  EXPECT_EQ(tails, (std::set<uint64_t>{0, 7}));
  std::memcpy(device.memory.data(), copies.data(), copies.size());
  EXPECT_EQ(open()->streams()[0].tail_order, 7u);
}

TEST_F(LogSpaceTest, OpeningRefusesWhatIsCutShortOrOfAnotherKind) {
  const auto other =
      run(world, reactor, SegmentSpace::open(reactor, device, SpaceKind::cloud_log, false));
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, Errc::invalid);
  MemoryDevice small(kSegments * kSegmentBytes);
  std::memcpy(small.data(), device.memory.data(), 2 * kBlockBytes);
  const auto cut = run(world, reactor, SegmentSpace::open(reactor, small, SpaceKind::pool, false));
  ASSERT_FALSE(cut.ok());
  EXPECT_EQ(cut.error().code, Errc::damaged);
  MemoryDevice empty(kSegmentBytes);
  const auto none = run(world, reactor, SegmentSpace::open(reactor, empty, SpaceKind::pool, false));
  EXPECT_EQ(none.error().code, Errc::not_found);
}

TEST_F(LogSpaceTest, AppendsOfOneTurnShareARecordAndAWrite) {
  auto log = stream();
  std::deque<Append> appends;
  for (uint64_t seq = 1; seq <= 5; ++seq) {
    set(appends.emplace_back(), seq);
    ASSERT_TRUE(log->admit(appends.back(), 0));
  }
  const unsigned before = device.writes;
  settle();
  EXPECT_EQ(device.writes, before + 1);
  for (const Append& append : appends) {
    EXPECT_TRUE(append.done);
    EXPECT_EQ(append.position, appends.front().position);
  }
  EXPECT_EQ(appends.back().address, appends.front().address + 4);
}

TEST_F(LogSpaceTest, FlushesCoverWhatCompletedAndAreNotRepeated) {
  auto log = stream();
  Append append;
  set(append, 1);
  ASSERT_TRUE(log->admit(append, 0));
  EXPECT_FALSE(log->all_durable());
  const unsigned before = device.flushes;
  EXPECT_EQ(run(world, reactor, log->flush()), IoStatus::ok);
  EXPECT_TRUE(append.done);
  EXPECT_TRUE(log->all_durable());
  EXPECT_EQ(device.flushes, before + 1);
  EXPECT_EQ(run(world, reactor, log->flush()), IoStatus::ok);
  EXPECT_EQ(device.flushes, before + 1);
}

Task<void> note_end(LogStream& log, Append& append, std::vector<uint64_t>* order) {
  co_await log.completed(append);
  order->push_back(append.entry.seq);
}

TEST_F(LogSpaceTest, AppendsCompleteInTheirOrderWhateverTheDrivesOrder) {
  sim::DriveOptions options;
  options.size_bytes = device.info().size_bytes;
  options.write.tail_ns = 5 * kMillisecond;
  sim::SimDrive drive(world, options);
  drive.connect(reactor);
  SegmentSpace::Options format;
  format.segment_bytes = kSegmentBytes;
  ASSERT_TRUE(run(world, reactor, SegmentSpace::format(drive, format)).ok());
  auto opened = run(world, reactor, SegmentSpace::open(reactor, drive, SpaceKind::pool, false));
  space = opened.take();
  auto log = stream();
  std::deque<Append> appends;
  std::vector<uint64_t> order;
  for (uint64_t seq = 1; seq <= 40; ++seq) {
    set(appends.emplace_back(), seq);
    ASSERT_TRUE(log->admit(appends.back(), 0));
    reactor.spawn(note_end(*log, appends.back(), &order));
    (void)world.run_for(100 * kMicrosecond);  // a record each, several under way
  }
  settle();
  ASSERT_EQ(order.size(), 40u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  log.reset();
  reactor.destroy_tasks();
  space.reset();
}

TEST_F(LogSpaceTest, TheReserveIsForThoseWhoMayUseIt) {
  auto log = stream();
  std::deque<Append> appends;
  uint64_t seq = 0;
  for (;;) {
    set(appends.emplace_back(), ++seq, kMaxData);
    if (!log->admit(appends.back(), 2)) break;
    settle();
    ASSERT_TRUE(appends.back().done);
  }
  EXPECT_EQ(space->free_segments(), 2u);
  EXPECT_FALSE(log->has_room(kMaxData, 2));
  EXPECT_TRUE(log->has_room(kMaxData, 0));
  EXPECT_TRUE(log->admit(appends.back(), 0));
  settle();
  EXPECT_EQ(space->free_segments(), 1u);
  // The open segment is one of the reserve now: others stay out of it.
  EXPECT_FALSE(log->has_room(1, 2));
}

TEST_F(LogSpaceTest, AfterAnErrorNothingIsWrittenBehindTheGap) {
  auto log = stream();
  Append first;
  set(first, 1);
  device.fail_writes = true;
  ASSERT_TRUE(log->admit(first, 0));
  settle();
  EXPECT_EQ(first.status, IoStatus::io_error);
  EXPECT_TRUE(log->failed());
  device.fail_writes = false;
  EXPECT_EQ(run(world, reactor, log->flush()), IoStatus::io_error);
}

class Collect final : public StreamVisitor {
 public:
  void on_entry(const Entry& entry, BlockAddress, std::span<const uint32_t>, LogPosition,
                int64_t) override {
    seqs.push_back(entry.seq);
  }
  void on_damage(LogPosition, const std::string& what) override { damage.push_back(what); }
  std::vector<uint64_t> seqs;
  std::vector<std::string> damage;
};

class LogRecoveryTest : public LogSpaceTest {
 protected:
  /// Appends `count` single blocks, each a record of its own, flushing behind `flushed` of them.
  void fill(uint64_t count, uint64_t flushed) {
    auto log = stream();
    for (uint64_t seq = 1; seq <= count; ++seq) {
      Append append;
      set(append, seq);
      ASSERT_TRUE(log->admit(append, 0));
      settle();
      addresses.push_back(append.address);
      if (seq == flushed) {
        ASSERT_EQ(run(world, reactor, log->flush()), IoStatus::ok);
      }
    }
  }
  StreamRecovery recover(uint64_t boot_id, uint64_t settled_seq = 0) {
    space = open();
    StreamRecoveryOptions options;
    options.disk_id = disk_id;
    options.settled_seq = settled_seq;
    options.boot_id = boot_id;
    const auto found = run(world, reactor, find_segments(reactor, *space, nullptr));
    return run(world, reactor, recover_stream(*space, options, found, seen));
  }
  std::byte* at(BlockAddress address) {
    return device.memory.data() + space->device_offset(address);
  }

  std::vector<BlockAddress> addresses;
  Collect seen;
};

TEST_F(LogRecoveryTest, EverythingComesBackInOrder) {
  fill(30, 30);
  const StreamRecovery recovered = recover(2);
  ASSERT_EQ(seen.seqs.size(), 30u);
  for (uint64_t i = 0; i < 30; ++i) EXPECT_EQ(seen.seqs[i], i + 1);
  EXPECT_TRUE(seen.damage.empty());
  EXPECT_EQ(recovered.max_seq, 30u);
  EXPECT_GT(recovered.chain.size(), 3u);
}

TEST_F(LogRecoveryTest, WhatWasTornByAPowerLossEndsTheLog) {
  fill(5, 3);
  at(addresses[4])[100] ^= std::byte{1};
  const StreamRecovery recovered = recover(2);
  EXPECT_EQ(seen.seqs, (std::vector<uint64_t>{1, 2, 3, 4}));
  EXPECT_TRUE(seen.damage.empty());
  EXPECT_EQ(recovered.discarded_entries, 1u);
  EXPECT_EQ(recovered.max_seq, 5u);  // never given out again
}

TEST_F(LogRecoveryTest, WhatWasFlushedAndDoesNotReadBackIsDamage) {
  fill(5, 3);  // the later ones carry the mark
  at(addresses[1] - 1)[10] ^= std::byte{1};
  (void)recover(2);
  EXPECT_FALSE(seen.damage.empty());
}

TEST_F(LogRecoveryTest, BehindDamageThatMayHideAnEarlierEndAWriteThatIsNotSettledMustFollow) {
  // The third record rots; what came after it in its segment, never flushed, is lost. A recovery
  // that saw the third one intact would have ended there.
  fill(12, 3);
  const BlockAddress first = addresses[0] - 2;
  std::memset(at(addresses[2] - 1), 0, (space->segment_blocks() - 5) * kBlockBytes);
  const auto in_first = [&](BlockAddress a) { return a < first + space->segment_blocks(); };
  ASSERT_TRUE(in_first(addresses[3]));
  ASSERT_FALSE(in_first(addresses[11]));
  for (const uint64_t settled_seq : {11u, 12u}) {
    seen = {};
    const StreamRecovery recovered = recover(2, settled_seq);
    EXPECT_EQ(seen.damage.size(), 1u);
    EXPECT_EQ(recovered.max_seq, 12u);
    if (settled_seq == 12) {
      EXPECT_TRUE(recovered.chain.empty());
      EXPECT_GT(recovered.dropped.size(), 1u);
      EXPECT_EQ(recovered.end.order + 1, recovered.next_order);
      EXPECT_FALSE(recovered.open);
    } else {
      EXPECT_GT(recovered.chain.size(), 1u);
    }
  }
}

TEST_F(LogRecoveryTest, ALastSegmentWithoutARecordIsClosed) {
  fill(1, 0);
  std::memset(at(addresses[0] - 1), 0, kBlockBytes);  // its only record vanished with the power
  const StreamRecovery recovered = recover(2);
  EXPECT_TRUE(seen.seqs.empty());
  EXPECT_EQ(recovered.chain.size(), 1u);
  EXPECT_FALSE(recovered.open);
}

}  // namespace
}  // namespace latte::log
