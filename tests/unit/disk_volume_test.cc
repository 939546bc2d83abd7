// Volume areas and local volumes, piece by piece: what is on the device when something there is
// bad, which requests reach the device, who gets which extent. The order of everything under
// crashes is in disk_volume_model_test.cc.
#include <cstring>

#include "base/crc32c.h"
#include "device/memory_device.h"
#include "disk/volume_space.h"
#include "disk_test_support.h"

namespace latte {
namespace {

using test::Bytes;
using test::filled;

constexpr uint32_t kExtent = 64u << 10;
constexpr uint64_t kOffset = 1u << 20;

/// Notes what reaches a device.
class RecordingDevice final : public BlockDevice {
 public:
  explicit RecordingDevice(BlockDevice& below) : below_(below) {}
  const DeviceInfo& info() const override { return below_.info(); }
  bool submit(IoRequest& request) override {
    ++requests;
    last_iov = request.iov;
    last_offset = request.offset;
    return below_.submit(request);
  }
  int requests = 0;
  const iovec* last_iov = nullptr;
  uint64_t last_offset = 0;

 private:
  BlockDevice& below_;
};

class VolumeTest : public testing::Test {
 protected:
  static constexpr uint64_t kTableBlock = volume::kTableEntries;
  explicit VolumeTest(uint64_t extents = 20)
      : area_{kOffset, volume::Geometry{extents, kExtent}.area_bytes()},
        geometry_{extents, kExtent},
        memory_(kOffset + area_.size_bytes),
        device_(memory_),
        world_(1),
        reactor_(world_, "host", 0) {
    // Somebody's old bytes.
    std::memset(memory_.data(), 0x5a, memory_.info().size_bytes);
    format();
    open();
  }
  ~VolumeTest() override { reactor_.destroy_tasks(); }

  template <typename T>
  T run(Task<T> task) {
    return test::run(world_, reactor_, std::move(task));
  }
  void format() {
    VolumeSpace::FormatOptions options;
    options.extent_bytes = kExtent;
    ASSERT_TRUE(run(VolumeSpace::format(reactor_, device_, area_, options)).ok());
  }
  Result<void> reopen() {
    space_.reset();
    auto opened = run(VolumeSpace::open(reactor_, device_, area_, VolumeSpace::Access::read_write));
    if (!opened) return opened.error();
    space_ = opened.take();
    return {};
  }
  void open() {
    const Result<void> opened = reopen();
    ASSERT_TRUE(opened.ok()) << opened.error().message;
  }
  Result<void> create(const std::string& name, uint64_t extents, bool thin) {
    VolumeOptions options{name, extents * kExtent, thin};
    return run(space_->create(std::move(options)));
  }
  LocalVolume* made(const std::string& name, uint64_t extents, bool thin) {
    const Result<void> done = create(name, extents, thin);
    EXPECT_TRUE(done.ok()) << done.error().message;
    return space_->attach(name).value();
  }
  Errc resize(const std::string& name, uint64_t bytes, bool force) {
    const Result<void> done = run(space_->resize(name, bytes, force));
    return done ? Errc{-1} : done.error().code;
  }
  IoStatus write(BlockDevice* device, uint64_t offset, Bytes data) {
    return run(test::io(device, IoOp::write, offset, data, data.size(), false));
  }
  IoStatus command(BlockDevice* device, IoOp op, uint64_t offset, uint64_t length) {
    return run(test::io(device, op, offset, {}, length, false));
  }
  Bytes read(BlockDevice* device, uint64_t offset, uint64_t length) {
    Bytes data(length, std::byte{0xee});
    EXPECT_EQ(run(test::io(device, IoOp::read, offset, data, length, false)), IoStatus::ok);
    return data;
  }
  void damage(uint64_t area_offset) { memory_.data()[kOffset + area_offset + 100] ^= std::byte{1}; }
  void damage_table(uint64_t block, unsigned copy) {
    damage(geometry_.table_offset(copy) + block * kBlockBytes);
  }
  VolumeFacts facts(const std::string& name) {
    for (const VolumeFacts& item : space_->list())
      if (item.name == name) return item;
    ADD_FAILURE() << name << " is not listed";
    return {};
  }

  VolumeArea area_;
  volume::Geometry geometry_;
  MemoryDevice memory_;
  RecordingDevice device_;
  sim::World world_;
  sim::SimReactor reactor_;
  std::unique_ptr<VolumeSpace> space_;
};

TEST_F(VolumeTest, NewVolumesAreZeroWhateverWasThere) {
  for (const bool thin : {false, true}) {
    LocalVolume* volume = made(thin ? "thin" : "thick", 3, thin);
    EXPECT_EQ(volume->info().size_bytes, 3 * kExtent);
    EXPECT_EQ(facts(volume->name()).allocated_bytes, thin ? 0 : 3 * kExtent);
    EXPECT_EQ(read(volume, 0, 3 * kExtent), filled(3 * kExtent, 0));
    EXPECT_EQ(write(volume, kExtent + 512, filled(512, 7)), IoStatus::ok);
    EXPECT_EQ(read(volume, kExtent, 512), filled(512, 0));
    EXPECT_EQ(read(volume, kExtent + 512, 512), filled(512, 7));
    EXPECT_EQ(read(volume, kExtent + 1024, kExtent), filled(kExtent, 0));
  }
  EXPECT_EQ(facts("thin").allocated_bytes, kExtent);
}

TEST_F(VolumeTest, OneRequestStaysOneAndKeepsItsMemory) {
  LocalVolume* volume = made("a", 4, false);
  Bytes data = filled(2 * kExtent, 3);
  iovec parts[2] = {{data.data(), 512}, {data.data() + 512, data.size() - 512}};
  IoRequest request;
  request.op = IoOp::write;
  request.offset = kExtent + 4096;
  request.length = data.size();
  request.iov = parts;
  request.iov_count = 2;
  device_.requests = 0;
  EXPECT_FALSE(volume->submit(request)) << "the device answers at once";
  EXPECT_EQ(request.status, IoStatus::ok);
  EXPECT_EQ(device_.requests, 1) << "three extents that are neighbours";
  EXPECT_EQ(device_.last_iov, parts);
  EXPECT_EQ(device_.last_offset, kOffset + geometry_.extent_offset(1) + 4096);
  EXPECT_EQ(request.offset, kExtent + 4096u);
  const DiskStats stats = volume->stats();
  EXPECT_EQ(stats.writes, 1u);
  EXPECT_EQ(stats.write_bytes, data.size());
}

TEST_F(VolumeTest, ExtentsThatAreNoNeighboursAreCut) {
  LocalVolume* volume = made("a", 4, true);
  for (const uint64_t part : {2u, 0u, 3u, 1u})
    EXPECT_EQ(write(volume, part * kExtent, filled(kExtent, static_cast<int>(part + 1))),
              IoStatus::ok);
  Bytes expected;
  for (int part = 0; part < 4; ++part) {
    const Bytes one = filled(kExtent, part + 1);
    expected.insert(expected.end(), one.begin(), one.end());
  }
  EXPECT_EQ(read(volume, 0, 4 * kExtent), expected);
  open();
  EXPECT_EQ(read(space_->attach("a").value(), 0, 4 * kExtent), expected) << "after another start";
}

TEST_F(VolumeTest, DiscardsGiveWholeExtentsBack) {
  LocalVolume* volume = made("a", 4, true);
  EXPECT_EQ(write(volume, 0, filled(4 * kExtent, 9)), IoStatus::ok);
  EXPECT_EQ(command(volume, IoOp::discard, kExtent / 2, 2 * kExtent), IoStatus::ok);
  EXPECT_EQ(facts("a").allocated_bytes, 3 * kExtent);
  Bytes expected = filled(4 * kExtent, 9);
  std::fill_n(expected.begin() + kExtent / 2, 2 * kExtent, std::byte{0});
  EXPECT_EQ(read(volume, 0, 4 * kExtent), expected);
  Extent extents[8];
  ASSERT_EQ(volume->extents(512, 4 * kExtent - 1024, extents), 3u);
  EXPECT_TRUE(!extents[0].hole && extents[1].hole && extents[1].zero && !extents[2].hole);
  EXPECT_EQ(extents[0].length, kExtent - 512);
  EXPECT_EQ(extents[1].length, kExtent);
  EXPECT_EQ(command(volume, IoOp::write_zeroes, 3 * kExtent, kExtent), IoStatus::ok);
  EXPECT_EQ(facts("a").allocated_bytes, 3 * kExtent) << "zeroes keep the space";
  LocalVolume* thick = made("b", 2, false);
  EXPECT_EQ(write(thick, 0, filled(kExtent, 1)), IoStatus::ok);
  EXPECT_EQ(command(thick, IoOp::discard, 0, 2 * kExtent), IoStatus::ok);
  EXPECT_EQ(facts("b").allocated_bytes, 2 * kExtent);
  EXPECT_EQ(read(thick, 0, kExtent), filled(kExtent, 0));
}

TEST_F(VolumeTest, AFullAreaFailsOnlyWhatNeedsMore) {
  LocalVolume* other = made("other", 5, false);
  LocalVolume* thin = made("thin", 100, true);
  for (uint64_t part = 0; part < 15; ++part)
    EXPECT_EQ(write(thin, part * kExtent, filled(512, 1)), IoStatus::ok);
  EXPECT_EQ(write(thin, 15 * kExtent, filled(512, 1)), IoStatus::no_space);
  EXPECT_EQ(write(thin, 14 * kExtent, filled(512, 2)), IoStatus::ok);
  EXPECT_EQ(read(thin, 15 * kExtent, 512), filled(512, 0));
  EXPECT_EQ(write(other, 0, filled(512, 3)), IoStatus::ok);
  EXPECT_EQ(create("more", 1, false).error().code, Errc::no_space);
  EXPECT_EQ(command(thin, IoOp::discard, 0, kExtent), IoStatus::ok);
  EXPECT_EQ(write(thin, 15 * kExtent, filled(512, 4)), IoStatus::ok);
  EXPECT_EQ(read(thin, 15 * kExtent, kExtent).at(600), std::byte{0}) << "the old bytes are gone";
}

TEST_F(VolumeTest, RefusesWhatIsOutsideOrMisaligned) {
  LocalVolume* volume = made("a", 1, true);
  EXPECT_EQ(write(volume, kExtent, filled(512, 1)), IoStatus::invalid);
  EXPECT_EQ(write(volume, kExtent - 512, filled(1024, 1)), IoStatus::invalid);
  EXPECT_EQ(write(volume, 100, filled(512, 1)), IoStatus::invalid);
  EXPECT_EQ(command(volume, IoOp::discard, UINT64_MAX - 511, 512), IoStatus::invalid);
  EXPECT_TRUE(run(space_->stop()).ok());
  EXPECT_EQ(write(volume, 0, filled(512, 1)), IoStatus::stopped);
}

TEST_F(VolumeTest, ResizesAreSafe) {
  LocalVolume* volume = made("a", 2, false);
  EXPECT_EQ(write(volume, 0, filled(2 * kExtent, 5)), IoStatus::ok);
  EXPECT_EQ(resize("a", kExtent, false), Errc::invalid);
  EXPECT_EQ(resize("b", kExtent, false), Errc::not_found);
  EXPECT_EQ(resize("a", 100, true), Errc::invalid);
  EXPECT_EQ(resize("a", 40 * kExtent, true), Errc::no_space);
  EXPECT_EQ(volume->info().size_bytes, 2 * kExtent);
  // Down to the middle of an extent and up again: what was cut is zero.
  EXPECT_EQ(resize("a", kExtent / 2, true), Errc{-1});
  EXPECT_EQ(facts("a").allocated_bytes, kExtent);
  EXPECT_EQ(resize("a", 3 * kExtent, false), Errc{-1});
  EXPECT_EQ(volume->info().size_bytes, 3 * kExtent);
  Bytes expected = filled(3 * kExtent, 0);
  std::fill_n(expected.begin(), kExtent / 2, std::byte{5});
  EXPECT_EQ(read(volume, 0, 3 * kExtent), expected);
  open();
  EXPECT_EQ(read(space_->attach("a").value(), 0, 3 * kExtent), expected);
}

TEST_F(VolumeTest, RemovingNeedsAnUnservedVolumeAndFreesItsSpace) {
  LocalVolume* volume = made("a", 20, false);
  EXPECT_EQ(write(volume, 0, filled(kExtent, 5)), IoStatus::ok);
  EXPECT_EQ(run(space_->remove("a")).error().code, Errc::busy);
  EXPECT_EQ(run(space_->remove("b")).error().code, Errc::not_found);
  open();
  EXPECT_TRUE(run(space_->remove("a")).ok());
  EXPECT_EQ(space_->free_bytes(), space_->size_bytes());
  EXPECT_EQ(space_->attach("a").error().code, Errc::not_found);
  EXPECT_EQ(read(made("b", 20, false), 0, 2 * kExtent), filled(2 * kExtent, 0));
}

TEST_F(VolumeTest, NamesAndCountsHaveLimits) {
  EXPECT_EQ(create("", 1, true).error().code, Errc::invalid);
  EXPECT_EQ(create("a/b", 1, true).error().code, Errc::invalid);
  EXPECT_EQ(create(std::string(64, 'x'), 1, true).error().code, Errc::invalid);
  EXPECT_EQ(create("big", 1ull << 27, true).error().code, Errc::invalid);
  for (size_t i = 0; i < volume::kMaxVolumes; ++i)
    EXPECT_TRUE(create("v" + std::to_string(i), 1, true).ok());
  EXPECT_EQ(create("v3", 1, true).error().code, Errc::exists);
  EXPECT_EQ(create("more", 1, true).error().code, Errc::no_space);
}

TEST_F(VolumeTest, OneBadCopyOfAnythingLosesNothing) {
  EXPECT_EQ(write(made("a", 3, true), kExtent, filled(512, 5)), IoStatus::ok);
  for (const uint64_t at :
       {uint64_t{0}, uint64_t{kBlockBytes}, geometry_.table_offset(0), geometry_.table_offset(1)}) {
    damage(at);
    open();
    EXPECT_EQ(space_->findings().size(), 1u);
    EXPECT_FALSE(space_->findings().at(0).damage) << space_->findings().at(0).text;
    EXPECT_EQ(read(space_->attach("a").value(), kExtent, 512), filled(512, 5));
    open();
    EXPECT_TRUE(space_->findings().empty()) << "the start before mended it";
  }
}

TEST_F(VolumeTest, BothSuperblocksBadIsAnErrorThatSaysSo) {
  damage(0);
  damage(kBlockBytes);
  const Result<void> opened = reopen();
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Errc::damaged);
  EXPECT_NE(opened.error().message.find("both copies"), std::string::npos);
  std::memset(memory_.data() + kOffset, 0, 2 * kBlockBytes);
  EXPECT_EQ(reopen().error().code, Errc::not_found);
}

TEST_F(VolumeTest, AnotherVersionIsRefused) {
  volume::Super super;
  std::memcpy(&super, memory_.data() + kOffset, sizeof(super));
  volume::seal(super);
  super.version = 2;
  // The checksum of a structure with its crc as zero.
  super.crc = 0;
  super.crc = crc32c(std::as_bytes(std::span(&super, 1)));
  std::memcpy(memory_.data() + kOffset, &super, sizeof(super));
  EXPECT_EQ(reopen().error().code, Errc::unsupported);
}

/// A table of two blocks.
class TwoBlockTest : public VolumeTest {
 protected:
  TwoBlockTest() : VolumeTest(kTableBlock + 50) {}
};

TEST_F(TwoBlockTest, ALostBlockStopsOnlyTheVolumesItMayConcern) {
  EXPECT_EQ(write(made("first", kTableBlock - 20, false), 0, filled(512, 5)), IoStatus::ok);
  EXPECT_TRUE(create("second", 40, false).ok());
  EXPECT_TRUE(create("thin", 40, true).ok());
  damage_table(1, 0);
  damage_table(1, 1);
  open();
  EXPECT_EQ(read(space_->attach("first").value(), 0, 512), filled(512, 5));
  for (const std::string name : {"second", "thin"}) {
    const auto attached = space_->attach(name);
    ASSERT_FALSE(attached.ok());
    EXPECT_EQ(attached.error().code, Errc::damaged);
    EXPECT_NE(attached.error().message.find("latte volume rm"), std::string::npos);
    EXPECT_TRUE(run(space_->remove(name)).ok()) << "it can be given up";
  }
  EXPECT_EQ(read(made("new", 20, false), 0, 512), filled(512, 0));
}

TEST_F(VolumeTest, TwoOwnersOfOnePartAreNotServed) {
  EXPECT_TRUE(create("a", 2, true).ok());
  EXPECT_TRUE(create("b", 2, false).ok());
  for (unsigned copy = 0; copy < 2; ++copy) {
    volume::TableBlock block;
    std::byte* at = memory_.data() + kOffset + geometry_.table_offset(copy);
    std::memcpy(&block, at, sizeof(block));
    block.entries[10] = {1, 0};
    block.entries[11] = {1, 0};
    block.entries[12] = {77, 0};
    block.entries[13] = {1, 5};
    volume::seal(block);
    std::memcpy(at, &block, sizeof(block));
  }
  open();
  EXPECT_EQ(space_->attach("a").error().code, Errc::damaged);
  EXPECT_TRUE(space_->attach("b").ok());
  EXPECT_EQ(space_->free_bytes(), 16 * kExtent) << "what is nobody's is free again";
  EXPECT_TRUE(run(space_->stop()).ok());
  open();
  EXPECT_EQ(space_->findings().size(), 1u) << "only that of the volume";
  EXPECT_EQ(space_->free_bytes(), 16 * kExtent);
}

TEST(VolumeReuse, AnExtentWaitsForTheLastRequestToIt) {
  sim::World world(3);
  sim::SimReactor reactor(world, "host", 0);
  sim::DriveOptions options;
  const VolumeArea area{0, volume::Geometry{1, kExtent}.area_bytes()};
  options.size_bytes = area.size_bytes;
  sim::SimDrive drive(world, options);
  drive.connect(reactor);
  VolumeSpace::FormatOptions format;
  format.extent_bytes = kExtent;
  ASSERT_TRUE(test::run(world, reactor, VolumeSpace::format(reactor, drive, area, format)).ok());
  auto space = test::run(world, reactor,
                         VolumeSpace::open(reactor, drive, area, VolumeSpace::Access::read_write));
  LocalVolume* volumes[2];
  for (int i = 0; i < 2; ++i) {
    VolumeOptions volume{"v" + std::to_string(i), kExtent, true};
    ASSERT_TRUE(test::run(world, reactor, space.value()->create(std::move(volume))).ok());
    volumes[i] = space.value()->attach("v" + std::to_string(i)).value();
  }
  Bytes data = filled(512, 1);
  const auto write = [&](int i) {
    return test::run(world, reactor,
                     test::io(volumes[i], IoOp::write, 0, data, data.size(), false));
  };
  ASSERT_EQ(write(0), IoStatus::ok);
  drive.faults().hang = 1'000'000;
  std::optional<IoStatus> slow;
  Task<void> straggler =
      test::store(test::io(volumes[0], IoOp::write, 0, data, data.size(), false), &slow);
  reactor.spawn(std::move(straggler));
  (void)world.run_for(kMillisecond);
  drive.faults().hang = 0;
  ASSERT_EQ(test::run(world, reactor, test::io(volumes[0], IoOp::discard, 0, {}, kExtent, false)),
            IoStatus::ok);
  EXPECT_FALSE(slow.has_value());
  EXPECT_EQ(write(1), IoStatus::no_space) << "the write under way would land in it";
  (void)world.run_until([&] { return slow.has_value(); }, world.now() + 10 * kSecond);
  EXPECT_EQ(write(1), IoStatus::ok);
  Bytes seen(kExtent);
  EXPECT_EQ(test::run(world, reactor, test::io(volumes[1], IoOp::read, 0, seen, kExtent, false)),
            IoStatus::ok);
  Bytes expected = filled(kExtent, 0);
  std::copy(data.begin(), data.end(), expected.begin());
  EXPECT_EQ(seen, expected);
  reactor.destroy_tasks();
}

}  // namespace
}  // namespace latte
