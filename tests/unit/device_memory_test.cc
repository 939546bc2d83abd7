// MemoryDevice: everything inline.
#include "device/memory_device.h"

#include "device_test_support.h"

namespace latte {
namespace {

TEST(MemoryDevice, CompletesInline) {
  MemoryDevice device(8u << 20);
  Buffer data = test::pattern(8192, 1);
  Buffer back(8192);
  iovec vectors[2] = {{data.data(), 4096}, {data.data() + 4096, 4096}};
  IoRequest request;
  request.op = IoOp::write;
  request.offset = 4096;
  request.length = 8192;
  request.iov = vectors;
  request.iov_count = 2;
  EXPECT_FALSE(device.submit(request));
  EXPECT_EQ(request.status, IoStatus::ok);
  auto reactor = test::make_reactor();
  EXPECT_EQ(test::read(*reactor, device, 4096, back.span()), IoStatus::ok);
  EXPECT_TRUE(test::same(data.span(), back.span()));
  EXPECT_EQ(test::flush(*reactor, device), IoStatus::ok);
}

TEST(MemoryDevice, DiscardsToZero) {
  auto reactor = test::make_reactor();
  MemoryDevice device(8u << 20);
  Buffer data = test::pattern(4u << 20, 1);
  Buffer back(4u << 20);
  for (const uint64_t length : {uint64_t{512}, uint64_t{2u << 20}}) {
    ASSERT_EQ(test::write(*reactor, device, 0, data.span()), IoStatus::ok);
    ASSERT_EQ(test::io(*reactor, device, IoOp::discard, 4096, {}, length), IoStatus::ok);
    ASSERT_EQ(test::read(*reactor, device, 0, back.span()), IoStatus::ok);
    EXPECT_TRUE(test::all_zero(back.span().subspan(4096, length)));
    EXPECT_TRUE(test::same(back.span().first(4096), data.span().first(4096)));
    EXPECT_TRUE(test::same(back.span().subspan(4096 + length), data.span().subspan(4096 + length)));
  }
}

TEST(MemoryDevice, ChecksTheRange) {
  auto reactor = test::make_reactor();
  MemoryDevice device(1u << 20);
  Buffer data(4096);
  EXPECT_EQ(test::write(*reactor, device, 1u << 20, data.span()), IoStatus::invalid);
  EXPECT_EQ(test::io(*reactor, device, IoOp::discard, 512, {}, UINT64_MAX), IoStatus::invalid);
}

}  // namespace
}  // namespace latte
