#include "runtime/work_share.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace latte {
namespace {

TEST(WorkShare, WhoIsAloneHasNoLimit) {
  WorkShare share;
  WorkShare::Tenant one(share);
  one.note_request(kSecond);
  EXPECT_EQ(one.limit_bytes(), WorkShare::kUnlimited);
}

TEST(WorkShare, TenantsShareEqually) {
  WorkShare share;
  std::vector<std::unique_ptr<WorkShare::Tenant>> tenants;
  for (uint64_t count = 1; count <= 16; ++count) {
    tenants.push_back(std::make_unique<WorkShare::Tenant>(share));
    tenants.back()->note_request(kSecond);
    EXPECT_EQ(share.active(), count);
    if (count == 1) continue;
    const uint64_t part = WorkShare::kSharedBytes / count;
    EXPECT_EQ(tenants.front()->limit_bytes(), std::max(part, WorkShare::kLeastBytes));
  }
}

TEST(WorkShare, IdleTenantsCountNoLongerAfterASecond) {
  WorkShare share;
  WorkShare::Tenant busy(share);
  WorkShare::Tenant idle(share);
  TimeNs now_ns = kSecond;
  idle.note_request(now_ns);
  for (; now_ns < kSecond + WorkShare::kActiveNs; now_ns += kMillisecond) {
    busy.note_request(now_ns);
    ASSERT_LT(busy.limit_bytes(), WorkShare::kUnlimited) << now_ns;
  }
  for (int i = 0; i < 20; ++i) busy.note_request(now_ns += kMillisecond);
  EXPECT_EQ(share.active(), 1u);
  EXPECT_EQ(busy.limit_bytes(), WorkShare::kUnlimited);
  idle.note_request(now_ns);
  EXPECT_EQ(share.active(), 2u);
}

TEST(WorkShare, TenantsThatAreGoneDoNotCount) {
  WorkShare share;
  WorkShare::Tenant stays(share);
  stays.note_request(kSecond);
  {
    WorkShare::Tenant goes(share);
    goes.note_request(kSecond);
    EXPECT_EQ(share.active(), 2u);
  }
  EXPECT_EQ(share.active(), 1u);
  EXPECT_EQ(stays.limit_bytes(), WorkShare::kUnlimited);
}

}  // namespace
}  // namespace latte
