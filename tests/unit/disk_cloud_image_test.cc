// load_cloud_image and Host::check: what a cloud log says, and what is wrong with it.
#include <gtest/gtest.h>

#include "disk/cloud_image.h"
#include "disk_test_support.h"
#include "log/segment_space.h"

namespace latte::test {
namespace {

constexpr uint64_t kB = kBlockBytes;

/// A disk with writes in its cloud log, none of them in the base; its process is gone.
class CloudImageTest : public ::testing::Test {
 protected:
  CloudImageTest() {
    for (uint64_t i = 0; i < kWrites; ++i) {
      EXPECT_EQ(rig.write(i * kB, filled(kB, static_cast<int>(i + 1))), IoStatus::ok);
      (void)rig.world().run_for(5 * kSecond);  // shipped, as a record of its own
    }
    EXPECT_TRUE(rig.run(rig.host().stop()).ok());
    EXPECT_EQ(rig.host().stats().disks.front().dirty_bytes, 0u);
    rig.kill(false);
    rig.boot();
  }
  CloudImage load(Uuid disk_id) {
    auto opened = rig.run(log::SegmentSpace::open(rig.reactor(), rig.volume().log(),
                                                  log::SpaceKind::cloud_log, true));
    EXPECT_TRUE(opened.ok());
    space = opened.take();
    if (disk_id.is_nil()) disk_id = space->streams()[0].disk_id;
    return rig.run(load_cloud_image(rig.reactor(), *space, disk_id, true));
  }
  std::vector<Finding> check() {
    std::vector<Host::CheckedDisk> disks{{rig.options(), &rig.volume()}};
    const auto findings = rig.run(rig.host().check(std::move(disks), nullptr));
    EXPECT_TRUE(findings.ok());
    return findings.ok() ? findings.value() : std::vector<Finding>{};
  }
  /// Flips bits in each page of the cloud log that `which` wants.
  unsigned corrupt_log(const std::function<bool(const std::byte*)>& which) {
    auto& store = rig.cloud().log_store();
    unsigned count = 0;
    for (uint64_t page = 0; page < store.size_bytes() / kB; ++page) {
      const sim::PageRef contents = store.peek(page);
      if (contents.null() || !which(contents.data())) continue;
      store.corrupt(page, rig.world().random());
      ++count;
    }
    return count;
  }
  static constexpr uint64_t kWrites = 10;
  DiskRig rig;
  std::unique_ptr<log::SegmentSpace> space;
};

TEST_F(CloudImageTest, HoldsEveryWriteInOrder) {
  const CloudImage image = load(Uuid{});
  EXPECT_TRUE(image.damage.empty());
  EXPECT_EQ(image.unreadable, 0u);
  EXPECT_EQ(image.contiguous, image.highest);
  EXPECT_EQ(image.highest.value, kWrites);
  uint64_t seq = 0;
  for (const CloudImage::Item& item : image.items) {
    EXPECT_GT(item.entry.seq, seq);
    seq = item.entry.seq;
    EXPECT_EQ(item.crcs.size(), item.entry.count);
  }
}

TEST_F(CloudImageTest, ALogOfAnotherDiskIsDamage) {
  const CloudImage image = load(Uuid::from_random(8, 9));
  ASSERT_EQ(image.damage.size(), 1u);
  EXPECT_NE(image.damage.front().find("another disk"), std::string::npos);
}

TEST_F(CloudImageTest, ACloudThatFailsIsNotDamage) {
  (void)load(Uuid{});
  rig.cloud().begin_outage(sim::Outage::errors, rig.world().now() + 100 * kSecond);
  const CloudImage image =
      rig.run(load_cloud_image(rig.reactor(), *space, space->streams()[0].disk_id, false));
  EXPECT_GT(image.unreadable, 0u);
  EXPECT_TRUE(image.damage.empty());
  rig.cloud().end_outage();
}

TEST_F(CloudImageTest, CheckIsCleanOnAWholeDisk) {
  for (const Finding& finding : check()) EXPECT_FALSE(finding.damage) << finding.text;
}

TEST_F(CloudImageTest, CheckNamesTheBadBlock) {
  const unsigned bad = corrupt_log([](const std::byte* page) {
    return page[0] == std::byte{3} && page[kB - 1] == std::byte{3};
  });
  ASSERT_EQ(bad, 1u);
  std::string text;
  for (const Finding& finding : check())
    if (finding.damage) text += finding.text;
  EXPECT_NE(text.find("block 2"), std::string::npos) << text;
}

TEST_F(CloudImageTest, DamagedRecordsAreDamageAndTheDiskIsNotServed) {
  const unsigned bad = corrupt_log([](const std::byte* page) {
    log::RecordHeader header;
    std::memcpy(&header, page, sizeof(header));
    return header.magic == log::kRecordMagic && header.index == 1;
  });
  ASSERT_GT(bad, 0u);
  const auto findings = check();
  EXPECT_TRUE(
      std::any_of(findings.begin(), findings.end(), [](const auto& f) { return f.damage; }));
  const auto attached = rig.attach();
  ASSERT_FALSE(attached.ok());
  EXPECT_EQ(attached.error().code, Errc::damaged);
  EXPECT_NE(attached.error().message.find("latte check"), std::string::npos);
}

}  // namespace
}  // namespace latte::test
