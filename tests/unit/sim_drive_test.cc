// SimDrive and PageStore: what a crash may and may not do to writes, and that each fault happens.
#include "sim/sim_drive.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <vector>

#include "model/nvme_model.h"

namespace latte::sim {
namespace {

constexpr uint64_t kSize = 1 << 20;

struct Rig {
  World world;
  std::unique_ptr<SimReactor> reactor;
  SimDrive drive;
  explicit Rig(uint64_t seed) : world(seed), drive(world, options()) { boot(); }
  static DriveOptions options() {
    DriveOptions o;
    o.size_bytes = kSize;
    return o;
  }
  void boot() {
    reactor.reset();
    reactor = std::make_unique<SimReactor>(world, "host", 0);
    drive.connect(*reactor);
  }
};

Task<void> write_block(SimDrive& drive, uint64_t block, char fill, bool fua, IoStatus* status) {
  const std::vector<std::byte> data(kBlockBytes, static_cast<std::byte>(fill));
  *status = co_await drive.write(block * kBlockBytes, data, fua);
}
Task<void> flush(SimDrive& drive, IoStatus* status) { *status = co_await drive.flush(); }
Task<void> read_block(SimDrive& drive, uint64_t block, std::vector<std::byte>* data,
                      IoStatus* status) {
  *status = co_await drive.read(block * kBlockBytes, *data);
}

IoStatus write_now(Rig& rig, uint64_t block, char fill, bool fua = false) {
  auto status = IoStatus::stopped;
  rig.reactor->spawn(write_block(rig.drive, block, fill, fua, &status));
  (void)rig.world.run_for(10 * kMillisecond);
  return status;
}
IoStatus flush_now(Rig& rig) {
  auto status = IoStatus::stopped;
  rig.reactor->spawn(flush(rig.drive, &status));
  (void)rig.world.run_for(10 * kMillisecond);
  return status;
}
/// The fills of a block's eight sectors, as a string; '?' where a sector is not of one fill.
std::string sectors(Rig& rig, uint64_t block, IoStatus* result = nullptr) {
  std::vector<std::byte> data(kBlockBytes);
  auto status = IoStatus::stopped;
  rig.reactor->spawn(read_block(rig.drive, block, &data, &status));
  (void)rig.world.run_for(10 * kMillisecond);
  if (result != nullptr) *result = status;
  std::string fills;
  for (size_t s = 0; s < 8; ++s) {
    const std::byte first = data[s * kSectorBytes];
    bool same = true;
    for (size_t i = 0; i < kSectorBytes; ++i) same &= data[s * kSectorBytes + i] == first;
    fills += same ? (first == std::byte{0} ? '.' : static_cast<char>(first)) : '?';
  }
  return fills;
}

TEST(SimDrive, FlushedAndFuaWritesSurvivePowerLoss) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Rig rig(seed);
    EXPECT_EQ(write_now(rig, 1, 'a'), IoStatus::ok);
    EXPECT_EQ(flush_now(rig), IoStatus::ok);
    EXPECT_EQ(write_now(rig, 2, 'b', true), IoStatus::ok);
    rig.drive.power_loss();
    rig.boot();
    EXPECT_EQ(sectors(rig, 1), "aaaaaaaa");
    EXPECT_EQ(sectors(rig, 2), "bbbbbbbb");
  }
}

TEST(SimDrive, UnflushedWritesSurviveVanishOrTearInAnyCombination) {
  std::set<std::string> first, second;
  std::set<std::pair<bool, bool>> combinations;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Rig rig(seed);
    EXPECT_EQ(write_now(rig, 1, 'a'), IoStatus::ok);
    EXPECT_EQ(write_now(rig, 2, 'b'), IoStatus::ok);
    EXPECT_EQ(sectors(rig, 1), "aaaaaaaa");
    rig.drive.power_loss();
    rig.boot();
    const std::string one = sectors(rig, 1), two = sectors(rig, 2);
    first.insert(one);
    second.insert(two);
    combinations.insert({one == "aaaaaaaa", two == "bbbbbbbb"});
    EXPECT_EQ(one.find_first_not_of("a."), std::string::npos);
  }
  EXPECT_TRUE(first.contains("........"));
  EXPECT_TRUE(first.contains("aaaaaaaa"));
  EXPECT_GT(first.size(), 10u) << "torn in many ways";
  EXPECT_EQ(combinations.size(), 4u) << "independent of order";
}

TEST(SimDrive, ProcessDeathKeepsCompletedWritesAndDropsRequests) {
  std::set<std::string> in_flight;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Rig rig(seed);
    EXPECT_EQ(write_now(rig, 1, 'a'), IoStatus::ok);
    auto status = IoStatus::stopped;
    rig.reactor->spawn(write_block(rig.drive, 2, 'b', false, &status));
    (void)rig.world.run_for(1);
    EXPECT_EQ(rig.drive.under_way(), 1u);
    rig.drive.process_death();
    rig.boot();
    EXPECT_EQ(rig.drive.under_way(), 0u);
    EXPECT_EQ(sectors(rig, 1), "aaaaaaaa");
    in_flight.insert(sectors(rig, 2));
    EXPECT_EQ(status, IoStatus::stopped);
  }
  EXPECT_TRUE(in_flight.contains("........"));
  EXPECT_TRUE(in_flight.contains("bbbbbbbb"));
  EXPECT_GT(in_flight.size(), 4u);
}

TEST(SimDrive, AFlushCoversOnlyWhatHadCompletedBefore) {
  bool lost = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Rig rig(seed);
    auto flushed = IoStatus::stopped, written = IoStatus::stopped;
    rig.reactor->spawn(flush(rig.drive, &flushed));
    rig.reactor->spawn(write_block(rig.drive, 1, 'a', false, &written));
    (void)rig.world.run_for(10 * kMillisecond);
    EXPECT_EQ(flushed, IoStatus::ok);
    EXPECT_EQ(written, IoStatus::ok);
    rig.drive.power_loss();
    rig.boot();
    lost |= sectors(rig, 1) != "aaaaaaaa";
  }
  EXPECT_TRUE(lost);
}

TEST(SimDrive, FaultsHappenAndAreLogged) {
  Rig rig(3);
  rig.drive.faults().lost_write = 1'000'000;
  EXPECT_EQ(write_now(rig, 1, 'a'), IoStatus::ok);
  EXPECT_EQ(sectors(rig, 1), "........");
  rig.drive.faults() = {};
  rig.drive.faults().misdirected_write = 1'000'000;
  EXPECT_EQ(write_now(rig, 2, 'b'), IoStatus::ok);
  EXPECT_EQ(rig.drive.damages().size(), 3u);
  rig.drive.faults() = {};
  rig.drive.faults().corrupt_write = 1'000'000;
  EXPECT_EQ(write_now(rig, 3, 'c'), IoStatus::ok);
  EXPECT_NE(sectors(rig, 3).find('?'), std::string::npos);
  EXPECT_EQ(rig.drive.damages().back().offset, 3 * kBlockBytes);
  rig.drive.faults() = {};
  EXPECT_EQ(write_now(rig, 4, 'd'), IoStatus::ok);
  rig.drive.faults().read_flip = 1'000'000;
  EXPECT_NE(sectors(rig, 4).find('?'), std::string::npos);
  rig.drive.faults() = {};
  EXPECT_EQ(sectors(rig, 4), "dddddddd") << "a latent flip happens once";
  rig.drive.faults().write_error = 1'000'000;
  EXPECT_EQ(write_now(rig, 5, 'e'), IoStatus::io_error);
  rig.drive.faults() = {};
  rig.drive.faults().hang = 1'000'000;
  EXPECT_EQ(write_now(rig, 6, 'f'), IoStatus::stopped);
  rig.drive.faults() = {};
  (void)rig.world.run_for(3 * kSecond);
  EXPECT_EQ(sectors(rig, 6), "ffffffff");
  rig.drive.die();
  IoStatus status = IoStatus::ok;
  (void)sectors(rig, 4, &status);
  EXPECT_EQ(status, IoStatus::io_error);
}

TEST(SimDrive, CorruptsOnlyWhatIsDurable) {
  Rig rig(9);
  EXPECT_EQ(write_now(rig, 1, 'a'), IoStatus::ok);
  EXPECT_FALSE(rig.drive.corrupt_page(0, nullptr)) << "nothing is durable yet";
  EXPECT_EQ(flush_now(rig), IoStatus::ok);
  EXPECT_FALSE(rig.drive.corrupt_page(2, nullptr)) << "not old enough";
  EXPECT_EQ(flush_now(rig), IoStatus::ok);
  EXPECT_EQ(flush_now(rig), IoStatus::ok);
  PageRef before;
  EXPECT_TRUE(rig.drive.corrupt_page(2, &before));
  EXPECT_EQ(before.data()[0], std::byte{'a'});
  EXPECT_NE(sectors(rig, 1), "aaaaaaaa");
}

TEST(SimDrive, RefusesWhatIsOutside) {
  Rig rig(1);
  EXPECT_EQ(write_now(rig, kSize / kBlockBytes, 'a'), IoStatus::invalid);
}

TEST(SimDrive, CompletesWhenADeviceModelSays) {
  DriveOptions options = Rig::options();
  options.timing = std::make_shared<model::NvmeModel>(model::nvme_gen4(), 5);
  model::NvmeModel same(model::nvme_gen4(), 5);
  World world(1);
  SimReactor reactor(world, "host", 0);
  SimDrive drive(world, options);
  drive.connect(reactor);
  for (uint64_t block = 0; block < 100; ++block) {
    auto status = IoStatus::stopped;
    std::vector<std::byte> data(kBlockBytes);
    const model::ModelIo io{world.now(), model::ModelOp::read, block * kBlockBytes, kBlockBytes};
    reactor.spawn(read_block(drive, block, &data, &status));
    (void)world.run_until([&] { return status != IoStatus::stopped; }, kSecond);
    ASSERT_EQ(status, IoStatus::ok);
    ASSERT_EQ(world.now(), same.submit(io));
  }
}

}  // namespace
}  // namespace latte::sim
