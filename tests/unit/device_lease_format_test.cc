#include "device/lease_format.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

namespace latte {
namespace {

LeasedSuper super_of(uint64_t generation, uint64_t counter) {
  LeasedSuper super{generation, counter, {}};
  super.bytes.fill(static_cast<std::byte>(counter));
  return super;
}

struct Head {
  std::unique_ptr<HeadBytes> bytes = std::make_unique<HeadBytes>();
  Head() { bytes->fill(std::byte{0}); }
  void put(const LeasedSuper& super) {
    const SlotBytes slot = seal_super(super);
    std::memcpy(bytes->data() + super.counter % 2 * kSuperSlotBytes, slot.data(), slot.size());
  }
  void put(LeaseBlock lease) {
    seal_lease(lease);
    std::memcpy(bytes->data() + lease_offset(lease.renewals), &lease, sizeof(lease));
  }
  Result<LeasedSuper> super() const { return parse_head_super(*bytes, "here"); }
  Result<std::optional<LeaseBlock>> lease() const {
    return parse_lease(std::span(*bytes).subspan<kLeaseOffset, kLeaseBytes>(), "here");
  }
};

LeaseBlock lease_of(uint64_t renewals) {
  LeaseBlock lease{};
  lease.renewals = renewals;
  lease.generation = 3;
  lease.duration_ns = 4 * kSecond;
  lease.state = LeaseState::held;
  return lease;
}

TEST(LeaseFormat, TheNewerSuperblockCountsAndATornOneLeavesTheOther) {
  Head head;
  ASSERT_FALSE(head.super());
  EXPECT_EQ(head.super().error().code, Errc::not_found);
  head.put(super_of(4, 1));
  head.put(super_of(5, 2));
  ASSERT_TRUE(head.super());
  EXPECT_EQ(head.super().value().generation, 5u);
  EXPECT_EQ(head.super().value().bytes, super_of(5, 2).bytes);
  (*head.bytes)[kBlockBytes + 17] ^= std::byte{1};  // in the newer one's opaque bytes
  ASSERT_TRUE(head.super());
  EXPECT_EQ(head.super().value().generation, 4u);
  (*head.bytes)[kSuperSlotBytes + 20] ^= std::byte{1};
  ASSERT_FALSE(head.super());
  EXPECT_EQ(head.super().error().code, Errc::damaged);
}

TEST(LeaseFormat, SomethingElseIsNeitherADiskNorEmpty) {
  Head head;
  (*head.bytes)[5000] = std::byte{7};
  ASSERT_FALSE(head.super());
  EXPECT_EQ(head.super().error().code, Errc::damaged);
}

TEST(LeaseFormat, AnInterruptedCreationIsNoDisk) {
  Head head;
  LeaseBlock lease = lease_of(1);
  lease.generation = 1;
  head.put(lease);
  (*head.bytes)[kSuperSlotBytes + 3] = std::byte{7};  // a torn first superblock
  ASSERT_FALSE(head.super());
  EXPECT_EQ(head.super().error().code, Errc::not_found);
}

TEST(LeaseFormat, OtherVersionsAreRefused) {
  Head head;
  head.put(super_of(1, 1));
  SuperHeader header;
  std::memcpy(&header, head.bytes->data() + kSuperSlotBytes, sizeof(header));
  header.version = 2;
  std::memcpy(head.bytes->data() + kSuperSlotBytes, &header, sizeof(header));
  ASSERT_FALSE(head.super());
  EXPECT_EQ(head.super().error().code, Errc::damaged);  // the CRC covers the version
}

TEST(LeaseFormat, LeaseSlots) {
  Head head;
  ASSERT_TRUE(head.lease());
  EXPECT_FALSE(head.lease().value());
  head.put(lease_of(6));
  head.put(lease_of(7));
  ASSERT_TRUE(head.lease().value());
  EXPECT_EQ(head.lease().value()->renewals, 7u);
  (*head.bytes)[lease_offset(7) + 33] ^= std::byte{1};
  EXPECT_EQ(head.lease().value()->renewals, 6u);
  (*head.bytes)[lease_offset(6) + 33] ^= std::byte{1};
  ASSERT_FALSE(head.lease());
  EXPECT_EQ(head.lease().error().code, Errc::damaged);
}

TEST(LeaseFormat, ImplausibleLeasesAreDamage) {
  Head head;
  LeaseBlock lease = lease_of(6);
  lease.duration_ns = kMaxLeaseNs + 1;
  head.put(lease);
  LeaseBlock other = lease_of(7);
  other.state = static_cast<LeaseState>(9);
  head.put(other);
  EXPECT_FALSE(head.lease());
}

}  // namespace
}  // namespace latte
