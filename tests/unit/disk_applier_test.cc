// What the applier reads: from the pool what the pool has, from the cloud what it has not.
#include "disk_test_support.h"

namespace latte::test {
namespace {

constexpr uint64_t kB = kBlockBytes;
constexpr uint64_t kBlocks = 100;  // the pool has room for all

/// Every other block, so that nothing lies one after the other in the base, each with its number;
/// all of it is in the cloud's log then.
void write_blocks(DiskRig& rig) {
  for (uint64_t i = 0; i < kBlocks; ++i)
    ASSERT_EQ(rig.write(i * 2 * kB, filled(kB, static_cast<int>(i))), IoStatus::ok);
  ASSERT_EQ(rig.command(IoOp::flush), IoStatus::ok);
  (void)rig.world().run_for(10 * kSecond);
}

void expect_blocks(DiskRig& rig) {
  for (uint64_t i = 0; i < kBlocks; ++i)
    EXPECT_EQ(rig.read(i * 2 * kB, kB), filled(kB, static_cast<int>(i))) << i;
}

uint64_t cloud_read_bytes(DiskRig& rig) {
  return rig.host().stats().disks.front().cloud.read_bytes;
}

TEST(Applier, TakesFromThePoolWhatThePoolHas) {
  DiskRig rig;
  write_blocks(rig);
  const uint64_t before = cloud_read_bytes(rig);
  ASSERT_TRUE(rig.run(rig.host().drain("db", nullptr)).ok());
  // Tables and headers of the log; none of the data.
  EXPECT_LT(cloud_read_bytes(rig) - before, kBlocks * kB / 4);
  move_to_another_host(rig);
  expect_blocks(rig);
}

TEST(Applier, TakesFromTheCloudWhatIsBadInThePool) {
  DiskRig rig;
  write_blocks(rig);
  auto& store = rig.drive().store();
  uint64_t bad = 0;
  for (uint64_t page = 0; page < store.size_bytes() / kB; page += 3) {
    const sim::PageRef content = store.peek(page);
    if (content.null() || content.data()[0] != content.data()[kB - 1]) continue;
    store.corrupt(page, rig.world().random());
    ++bad;
  }
  ASSERT_GT(bad, kBlocks / 6);
  ASSERT_TRUE(rig.run(rig.host().drain("db", nullptr)).ok());
  EXPECT_EQ(rig.host().stats().disks.front().lost_blocks, 0u);
  move_to_another_host(rig);
  expect_blocks(rig);
}

TEST(Applier, TakesFromTheCloudWhatThePoolNoLongerHas) {
  DiskRig rig;
  write_blocks(rig);
  move_to_another_host(rig);  // with a pool that has none of it
  ASSERT_TRUE(rig.run(rig.host().drain("db", nullptr)).ok());
  move_to_another_host(rig);
  expect_blocks(rig);
}

}  // namespace
}  // namespace latte::test
