#include "frontend/nbd_connection.h"

#include <gtest/gtest.h>

#include <map>

#include "nbd_harness.h"

namespace latte::nbd::test {
namespace {

struct Answer {
  uint32_t error = 0;
  uint16_t chunk_type = 0xffff;  // structured replies only
  Bytes data;
};

class NbdConnection : public testing::Test {
 protected:
  static constexpr uint64_t kDiskBytes = 128u << 20;

  void connect(bool structured, Limits limits = {}) {
    structured_ = structured;
    ASSERT_TRUE(exports_.add("disk", "", device_).ok());
    connection_.emplace(reactor_, exports_, limits, transport_, "test");
    reactor_.spawn(run());
    Bytes hello = handshake(structured);
    transport_.client_sends(hello);
    reactor_.run();
    ASSERT_FALSE(transport_.take_output().empty());
    ASSERT_FALSE(ended_);
  }
  Task<void> run() {
    co_await connection_->serve();
    ended_ = true;
  }
  void send(uint16_t type, uint64_t cookie, uint64_t offset, uint32_t length, uint16_t flags = 0,
            const Bytes& payload = {}) {
    Bytes wire;
    append_request(wire, type, cookie, offset, length, flags);
    wire.insert(wire.end(), payload.begin(), payload.end());
    transport_.client_sends(wire);
    requested_[cookie] = {type, length};
  }
  std::map<uint64_t, Answer> answers() {
    reactor_.run();
    std::map<uint64_t, Answer> found;
    const Bytes output = transport_.take_output();
    std::span<const std::byte> in = output;
    while (!in.empty()) {
      Be32 magic;
      std::memcpy(&magic, in.data(), sizeof(magic));
      if (magic.get() == NBD_SIMPLE_REPLY_MAGIC) {
        in = take_simple(in, found);
      } else {
        EXPECT_EQ(magic.get(), NBD_STRUCTURED_REPLY_MAGIC);
        in = take_structured(in, found);
      }
    }
    return found;
  }
  Answer only_answer() {
    auto found = answers();
    EXPECT_EQ(found.size(), 1u);
    return found.empty() ? Answer{} : found.begin()->second;
  }
  uint32_t error_of_request(uint16_t type, uint64_t offset, uint32_t length, uint16_t flags = 0,
                            const Bytes& payload = {}) {
    send(type, 1, offset, length, flags, payload);
    return only_answer().error;
  }

  ManualReactor reactor_;
  TestDevice device_{reactor_, kDiskBytes};
  ExportTable exports_;
  MemoryTransport transport_{reactor_};
  std::optional<Connection> connection_;
  bool structured_ = false;
  bool ended_ = false;

 private:
  std::span<const std::byte> take_simple(std::span<const std::byte> in,
                                         std::map<uint64_t, Answer>& found) {
    SimpleReply reply;
    EXPECT_GE(in.size(), sizeof(reply));
    std::memcpy(&reply, in.data(), sizeof(reply));
    in = in.subspan(sizeof(reply));
    const auto [type, length] = requested_.at(reply.cookie.get());
    Answer answer{reply.error.get(), 0xffff, {}};
    if (type == NBD_CMD_READ && answer.error == 0) {
      EXPECT_FALSE(structured_);
      answer.data.assign(in.begin(), in.begin() + length);
      in = in.subspan(length);
    }
    EXPECT_TRUE(found.emplace(reply.cookie.get(), std::move(answer)).second);
    return in;
  }
  std::span<const std::byte> take_structured(std::span<const std::byte> in,
                                             std::map<uint64_t, Answer>& found) {
    EXPECT_TRUE(structured_);
    StructuredReply reply;
    EXPECT_GE(in.size(), sizeof(reply));
    std::memcpy(&reply, in.data(), sizeof(reply));
    EXPECT_EQ(reply.flags.get(), NBD_REPLY_FLAG_DONE);
    const auto payload = in.subspan(sizeof(reply), reply.length.get());
    Answer answer{0, reply.type.get(), {payload.begin(), payload.end()}};
    if (answer.chunk_type == NBD_REPLY_TYPE_ERROR) {
      Be32 error;
      std::memcpy(&error, payload.data(), sizeof(error));
      answer.error = error.get();
    }
    if (answer.chunk_type == NBD_REPLY_TYPE_OFFSET_DATA)
      answer.data.erase(answer.data.begin(), answer.data.begin() + 8);
    EXPECT_TRUE(found.emplace(reply.cookie.get(), std::move(answer)).second);
    return in.subspan(sizeof(reply) + reply.length.get());
  }

  std::map<uint64_t, std::pair<uint16_t, uint32_t>> requested_;
};

constexpr uint32_t kEinval = static_cast<uint32_t>(NbdError::NBD_EINVAL);
constexpr uint32_t kEnospc = static_cast<uint32_t>(NbdError::NBD_ENOSPC);
constexpr uint32_t kEio = static_cast<uint32_t>(NbdError::NBD_EIO);
constexpr uint32_t kEoverflow = static_cast<uint32_t>(NbdError::NBD_EOVERFLOW);

Bytes pattern(size_t bytes, unsigned seed) {
  Bytes out(bytes);
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>(seed + i * 7 + (i >> 9));
  return out;
}

TEST_F(NbdConnection, WhatIsWrittenIsRead) {
  connect(false);
  const Bytes data = pattern(8192, 1);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE, 512, 8192, 0, data), 0u);
  send(NBD_CMD_READ, 2, 512, 8192);
  EXPECT_EQ(only_answer().data, data);
}

TEST_F(NbdConnection, WhatIsWrittenIsReadInStructuredReplies) {
  connect(true);
  const Bytes data = pattern(4096, 2);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE, 4096, 4096, 0, data), 0u);
  send(NBD_CMD_READ, 2, 4096, 4096, NBD_CMD_FLAG_DF);
  const Answer answer = only_answer();
  EXPECT_EQ(answer.chunk_type, NBD_REPLY_TYPE_OFFSET_DATA);
  EXPECT_EQ(answer.data, data);
}

// Every way a stream can be cut up gives the same result.
TEST_F(NbdConnection, RequestsInPiecesOfAnySize) {
  connect(false);
  uint64_t cookie = 1;
  for (size_t piece : {1u, 3u, 27u, 28u, 29u, 4096u, 100'000u}) {
    SCOPED_TRACE(piece);
    transport_.set_receive_limit(piece);
    const Bytes small = pattern(1024, static_cast<unsigned>(piece));
    const Bytes large = pattern(3 * kDirectPayloadBytes, static_cast<unsigned>(piece) + 1);
    send(NBD_CMD_WRITE, cookie, 0, 1024, 0, small);
    send(NBD_CMD_WRITE, cookie + 1, 1 << 20, 3 * kDirectPayloadBytes, 0, large);
    send(NBD_CMD_WRITE, cookie + 2, 2 << 20, 3 * kDirectPayloadBytes, 0, large);
    EXPECT_EQ(answers().size(), 3u);
    send(NBD_CMD_READ, cookie + 3, 0, 1024);
    send(NBD_CMD_READ, cookie + 4, 2 << 20, 3 * kDirectPayloadBytes);
    auto found = answers();
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[cookie + 3].data, small);
    EXPECT_EQ(found[cookie + 4].data, large);
    cookie += 5;
  }
}

TEST_F(NbdConnection, RepliesOfOneTurnLeaveTogether) {
  connect(false);
  const uint64_t before = transport_.sends();
  for (uint64_t i = 0; i < 32; ++i) send(NBD_CMD_READ, i, i * 4096, 4096);
  EXPECT_EQ(answers().size(), 32u);
  EXPECT_EQ(transport_.sends(), before + 1);
}

TEST_F(NbdConnection, RangesAndAlignment) {
  connect(false);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, kDiskBytes, 512), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, kDiskBytes - 512, 1024), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, UINT64_MAX - 511, 1024), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, 1, 512), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, 0, 513), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, 0, 0), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_TRIM, kDiskBytes, 512), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE_ZEROES, kDiskBytes, 512), kEnospc);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE, kDiskBytes, 512, 0, Bytes(512)), kEnospc);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE, 100, 512, 0, Bytes(512)), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE, 0, 0), kEinval);
  EXPECT_EQ(device_.count(IoOp::read) + device_.count(IoOp::write), 0u);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, kDiskBytes - 512, 512), 0u);
}

TEST_F(NbdConnection, ARefusedWritesPayloadIsSkipped) {
  connect(false);
  transport_.set_receive_limit(1000);
  Bytes trap;  // a payload that looks like requests
  while (trap.size() < 1 << 20) append_request(trap, NBD_CMD_WRITE_ZEROES, 99, 0, 512);
  trap.resize(1 << 20);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE, kDiskBytes, 1 << 20, 0, trap), kEnospc);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE, 0, 512, NBD_CMD_FLAG_DF, Bytes(512)), kEinval);
  EXPECT_EQ(device_.count(IoOp::write_zeroes), 0u);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, 0, 512), 0u);
}

TEST_F(NbdConnection, UnknownCommandsAndFlags) {
  connect(false);
  EXPECT_EQ(error_of_request(17, 0, 512), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_BLOCK_STATUS, 0, 512), kEinval);  // not negotiated
  EXPECT_EQ(error_of_request(NBD_CMD_READ, 0, 512, NBD_CMD_FLAG_DF), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, 0, 512, 1 << 14), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, 0, 512, NBD_CMD_FLAG_FUA), 0u);
  EXPECT_EQ(error_of_request(NBD_CMD_FLUSH, 0, 512), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_FLUSH, 0, 0), 0u);
  device_.mutable_info().can_discard = false;
  EXPECT_EQ(error_of_request(NBD_CMD_TRIM, 0, 512), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE_ZEROES, 0, 512, NBD_CMD_FLAG_FAST_ZERO), kEinval);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE_ZEROES, 0, 512, NBD_CMD_FLAG_NO_HOLE), 0u);
}

TEST_F(NbdConnection, OverlongRequests) {
  connect(true);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, 0, (32u << 20) + 512), kEoverflow);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE_ZEROES, 0, 64u << 20), 0u);  // no payload: any length
  EXPECT_EQ(error_of_request(NBD_CMD_TRIM, 0, static_cast<uint32_t>(kDiskBytes)), 0u);
  send(NBD_CMD_WRITE, 7, 0, (32u << 20) + 512);
  EXPECT_TRUE(answers().empty());
  EXPECT_TRUE(ended_);  // its payload can't be skipped safely
}

TEST_F(NbdConnection, TheLongestRequestRuns) {
  connect(true);
  const Bytes data = pattern(32u << 20, 5);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE, 0, 32u << 20, 0, data), 0u);
  send(NBD_CMD_READ, 2, 0, 32u << 20);
  EXPECT_EQ(only_answer().data, data);
}

TEST_F(NbdConnection, FuaReachesTheDeviceOrBecomesAFlush) {
  connect(false);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE, 0, 512, NBD_CMD_FLAG_FUA, Bytes(512)), 0u);
  EXPECT_EQ(error_of_request(NBD_CMD_TRIM, 0, 512, NBD_CMD_FLAG_FUA), 0u);
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE_ZEROES, 0, 512, NBD_CMD_FLAG_FUA), 0u);
  EXPECT_EQ(device_.count(IoOp::flush), 3u);
  EXPECT_EQ(device_.fua_count(), 0u);
  device_.mutable_info().can_fua = true;
  EXPECT_EQ(error_of_request(NBD_CMD_WRITE, 0, 512, NBD_CMD_FLAG_FUA, Bytes(512)), 0u);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, 0, 512, NBD_CMD_FLAG_FUA), 0u);
  EXPECT_EQ(device_.count(IoOp::flush), 3u);
  EXPECT_EQ(device_.fua_count(), 1u);
}

TEST_F(NbdConnection, DeviceErrors) {
  connect(true);
  const std::pair<IoStatus, NbdError> expected[] = {
      {IoStatus::io_error, NbdError::NBD_EIO},     {IoStatus::no_space, NbdError::NBD_ENOSPC},
      {IoStatus::invalid, NbdError::NBD_EINVAL},   {IoStatus::checksum, NbdError::NBD_EIO},
      {IoStatus::fenced, NbdError::NBD_EIO},       {IoStatus::lost, NbdError::NBD_EIO},
      {IoStatus::stopped, NbdError::NBD_ESHUTDOWN}};
  for (const auto& [status, error] : expected) {
    device_.set_status(status);
    EXPECT_EQ(error_of_request(NBD_CMD_READ, 0, 512), static_cast<uint32_t>(error));
    EXPECT_EQ(error_of_request(NBD_CMD_FLUSH, 0, 0), static_cast<uint32_t>(error));
  }
  device_.set_status(IoStatus::ok);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, 0, 512), 0u);
}

TEST_F(NbdConnection, DeviceErrorInASimpleReplyHasNoData) {
  connect(false);
  device_.set_status(IoStatus::io_error);
  send(NBD_CMD_READ, 1, 0, 4096);
  send(NBD_CMD_READ, 2, 0, 4096);
  auto found = answers();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[1].error, kEio);
  EXPECT_EQ(found[2].error, kEio);
}

TEST_F(NbdConnection, BlockStatus) {
  connect(true);
  send(NBD_CMD_BLOCK_STATUS, 1, 512, 3 * 4096);
  Answer answer = only_answer();
  ASSERT_EQ(answer.chunk_type, NBD_REPLY_TYPE_BLOCK_STATUS);
  ASSERT_EQ(answer.data.size(), 4 + 4 * sizeof(BlockDescriptor));
  BlockDescriptor descriptors[4];
  std::memcpy(descriptors, answer.data.data() + 4, sizeof(descriptors));
  EXPECT_EQ(descriptors[0].length.get(), 4096u - 512);
  EXPECT_EQ(descriptors[0].flags.get(), 0u);
  EXPECT_EQ(descriptors[1].length.get(), 4096u);
  EXPECT_EQ(descriptors[1].flags.get(), NBD_STATE_HOLE | NBD_STATE_ZERO);
  EXPECT_EQ(descriptors[3].length.get(), 512u);

  send(NBD_CMD_BLOCK_STATUS, 2, 512, 3 * 4096, NBD_CMD_FLAG_REQ_ONE);
  EXPECT_EQ(only_answer().data.size(), 4 + sizeof(BlockDescriptor));
  // A long range is described from its front.
  send(NBD_CMD_BLOCK_STATUS, 3, 0, 64u << 20);
  EXPECT_EQ(only_answer().data.size(), 4 + kMaxStatusExtents * sizeof(BlockDescriptor));
  EXPECT_EQ(error_of_request(NBD_CMD_BLOCK_STATUS, kDiskBytes - 512, 1024), kEinval);
}

TEST_F(NbdConnection, GarbageDropsTheConnectionOnly) {
  connect(false);
  send(NBD_CMD_READ, 1, 0, 512);
  transport_.client_sends(Bytes(100, std::byte{0xaa}));
  answers();
  EXPECT_TRUE(ended_);
  EXPECT_TRUE(transport_.aborted());
  EXPECT_EQ(reactor_.task_count(), 0u);
}

TEST_F(NbdConnection, DisconnectAnswersWhatIsUnderWay) {
  connect(false);
  device_.set_held(true);
  send(NBD_CMD_READ, 1, 0, 512);
  send(NBD_CMD_DISC, 2, 0, 0);
  send(NBD_CMD_READ, 3, 0, 512);  // after the end: not looked at
  EXPECT_TRUE(answers().empty());
  EXPECT_FALSE(ended_);
  device_.set_held(false);
  EXPECT_EQ(answers().size(), 1u);
  EXPECT_TRUE(ended_);
  EXPECT_FALSE(transport_.aborted());
}

TEST_F(NbdConnection, HangUpAtEveryByteOfAConversation) {
  Bytes conversation = handshake(true);
  append_request(conversation, NBD_CMD_WRITE, 1, 0, 2048);
  conversation.resize(conversation.size() + 2048);
  append_request(conversation, NBD_CMD_READ, 2, 0, 2048);
  ASSERT_TRUE(exports_.add("disk", "", device_).ok());
  for (size_t length = 0; length <= conversation.size(); length += length < 300 ? 1 : 61) {
    MemoryTransport transport(reactor_);
    Connection connection(reactor_, exports_, {}, transport, "test");
    reactor_.spawn(connection.serve());
    transport.client_sends(std::span(conversation).first(length));
    reactor_.run();
    transport.client_ends();
    reactor_.run();
    EXPECT_EQ(reactor_.task_count(), 0u) << length;
  }
}

TEST_F(NbdConnection, HangUpWithRequestsAtTheDevice) {
  connect(false);
  device_.set_held(true);
  for (uint64_t i = 0; i < 10; ++i) send(NBD_CMD_READ, i, 0, 65536);
  reactor_.run();
  transport_.abort();
  reactor_.run();
  EXPECT_FALSE(ended_);  // the device still has the memory
  device_.set_held(false);
  reactor_.run();
  EXPECT_TRUE(ended_);
  EXPECT_EQ(reactor_.task_count(), 0u);
}

TEST_F(NbdConnection, AClientThatNeverReadsIsHeldBackByCount) {
  Limits limits;
  limits.requests = 16;
  connect(false, limits);
  transport_.set_stuck(true);
  for (uint64_t i = 0; i < 100'000; ++i) send(NBD_CMD_READ, i, 0, 4096);
  reactor_.run();
  EXPECT_EQ(device_.count(IoOp::read), 16u);
  EXPECT_GT(transport_.unread_input(), 100'000 * 28 - 2 * kReceiveBytes);
  transport_.set_stuck(false);
  EXPECT_EQ(answers().size(), 100'000u);
}

TEST_F(NbdConnection, AClientThatNeverReadsIsHeldBackByBytes) {
  Limits limits;
  limits.data_bytes = 1 << 20;
  connect(false, limits);
  transport_.set_stuck(true);
  for (uint64_t i = 0; i < 100; ++i) send(NBD_CMD_READ, i, 0, 100'000 / 512 * 512);
  reactor_.run();
  EXPECT_EQ(device_.count(IoOp::read), 8u);  // a read of 100 KB takes a buffer of 128 KiB
  transport_.set_stuck(false);
  EXPECT_EQ(answers().size(), 100u);
  // One request larger than the limit runs, alone.
  send(NBD_CMD_READ, 1000, 0, 4 << 20);
  send(NBD_CMD_READ, 1001, 0, 4 << 20);
  EXPECT_EQ(answers().size(), 2u);
}

TEST_F(NbdConnection, SilenceInTheHandshakeIsCutOff) {
  ASSERT_TRUE(exports_.add("disk", "", device_).ok());
  Connection connection(reactor_, exports_, {}, transport_, "test");
  reactor_.spawn(connection.serve());
  reactor_.run();
  Bytes flags;
  append_client_flags(flags);
  // A message now and then does not help.
  for (int i = 0; i < 29; ++i) {
    Bytes message = i == 0 ? flags : Bytes();
    if (i > 0) append_option(message, NBD_OPT_LIST);
    transport_.client_sends(message);
    reactor_.advance(kSecond);
  }
  EXPECT_FALSE(transport_.aborted());
  reactor_.advance(kSecond);
  EXPECT_TRUE(transport_.aborted());
  EXPECT_EQ(reactor_.task_count(), 0u);
}

TEST_F(NbdConnection, AnIdleClientStaysAfterTheHandshake) {
  connect(false);
  reactor_.advance(24 * 3600 * kSecond);
  EXPECT_EQ(error_of_request(NBD_CMD_READ, 0, 512), 0u);
}

TEST_F(NbdConnection, StopAnswersWhatIsUnderWayAndEnds) {
  connect(false);
  device_.set_held(true);
  send(NBD_CMD_READ, 1, 0, 512);
  reactor_.run();
  connection_->begin_stop();
  reactor_.run();
  EXPECT_FALSE(ended_);
  device_.set_held(false);
  EXPECT_EQ(answers().size(), 1u);
  EXPECT_TRUE(ended_);
}

TEST_F(NbdConnection, StopWaitsForAStuckClientNoLongerThanItMay) {
  connect(false);
  transport_.set_stuck(true);
  send(NBD_CMD_READ, 1, 0, 512);
  reactor_.run();
  connection_->begin_stop();
  reactor_.advance(Limits{}.stop_ns - 1);
  EXPECT_FALSE(ended_);
  reactor_.advance(1);
  EXPECT_TRUE(ended_);
  EXPECT_EQ(reactor_.task_count(), 0u);
}

TEST_F(NbdConnection, StopInTheMiddleOfAPayload) {
  connect(false);
  send(NBD_CMD_WRITE, 1, 0, 1 << 20, 0, Bytes(1000));
  reactor_.run();
  connection_->begin_stop();
  reactor_.run();
  EXPECT_TRUE(ended_);
  EXPECT_EQ(device_.count(IoOp::write), 0u);
}

TEST_F(NbdConnection, StopWhileWaitingForRoom) {
  Limits limits;
  limits.requests = 1;
  connect(false, limits);
  device_.set_held(true);
  send(NBD_CMD_READ, 1, 0, 512);
  send(NBD_CMD_READ, 2, 0, 512);
  reactor_.run();
  connection_->begin_stop();
  reactor_.run();
  device_.set_held(false);
  EXPECT_EQ(answers().size(), 1u);
  EXPECT_TRUE(ended_);
}

TEST_F(NbdConnection, KilledAtAnyPoint) {
  connect(false);
  device_.set_held(true);
  for (uint64_t i = 0; i < 10; ++i) send(NBD_CMD_READ, i, 0, 512);
  send(NBD_CMD_WRITE, 10, 0, 1 << 20, 0, Bytes(1000));
  reactor_.run();
  reactor_.destroy_tasks();
  EXPECT_EQ(reactor_.task_count(), 0u);
}

}  // namespace
}  // namespace latte::nbd::test
