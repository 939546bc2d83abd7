#include "frontend/nbd_negotiation.h"

#include <gtest/gtest.h>

#include "nbd_harness.h"

namespace latte::nbd::test {
namespace {

struct Reply {
  uint32_t option = 0;
  uint32_t type = 0;
  Bytes data;
};

class NbdNegotiation : public testing::Test {
 protected:
  NbdNegotiation() {
    EXPECT_TRUE(exports_.add("disk", "a disk", device_).ok());
    negotiation_.emplace(exports_, out_);
  }
  // Feeds everything; returns what the server answers.
  Bytes feed(Bytes in) {
    out_.clear();
    std::span<const std::byte> rest = in;
    while (negotiation_->state() == Negotiation::State::client_flags ||
           negotiation_->state() == Negotiation::State::options) {
      const size_t used = negotiation_->consume(rest, out_);
      if (used == 0) break;
      rest = rest.subspan(used);
    }
    return out_;
  }
  std::vector<Reply> ask(uint32_t option, const Bytes& data = {}) {
    if (negotiation_->state() == Negotiation::State::client_flags) {
      Bytes flags;
      append_client_flags(flags);
      EXPECT_TRUE(feed(flags).empty());
    }
    Bytes in;
    append_option(in, option, data);
    return parse(feed(in));
  }
  static std::vector<Reply> parse(std::span<const std::byte> in) {
    std::vector<Reply> replies;
    while (!in.empty()) {
      OptionReplyHeader header;
      EXPECT_GE(in.size(), sizeof(header));
      std::memcpy(&header, in.data(), sizeof(header));
      EXPECT_EQ(header.magic.get(), NBD_REP_MAGIC);
      in = in.subspan(sizeof(header));
      EXPECT_GE(in.size(), header.length.get());
      const auto data = in.first(header.length.get());
      replies.push_back({header.option.get(), header.type.get(), {data.begin(), data.end()}});
      in = in.subspan(data.size());
    }
    return replies;
  }
  void agree_structured() {
    const auto replies = ask(NBD_OPT_STRUCTURED_REPLY);
    ASSERT_EQ(replies.size(), 1u);
    ASSERT_EQ(replies[0].type, NBD_REP_ACK);
  }

  ManualReactor reactor_;
  TestDevice device_{reactor_, 1u << 20};
  ExportTable exports_;
  Bytes out_;
  std::optional<Negotiation> negotiation_;
};

TEST_F(NbdNegotiation, Greeting) {
  ASSERT_EQ(out_.size(), sizeof(Greeting));
  EXPECT_EQ(std::memcmp(out_.data(), "NBDMAGICIHAVEOPT\0\3", 18), 0);
}

TEST_F(NbdNegotiation, ExportNameWithAndWithoutZeroes) {
  Bytes in;
  append(in, Be32(NBD_FLAG_C_FIXED_NEWSTYLE));
  append_option(in, NBD_OPT_EXPORT_NAME);
  EXPECT_EQ(feed(in).size(), sizeof(ExportReply) + 124);
  EXPECT_EQ(negotiation_->state(), Negotiation::State::transmission);
  EXPECT_EQ(negotiation_->selected()->name(), "disk");

  negotiation_.emplace(exports_, out_);
  in.clear();
  append_client_flags(in);
  Bytes name;
  append_text(name, "disk");
  append_option(in, NBD_OPT_EXPORT_NAME, name);
  EXPECT_EQ(feed(in).size(), sizeof(ExportReply));
}

TEST_F(NbdNegotiation, UnknownExportNameHangsUp) {
  Bytes in;
  append_client_flags(in);
  Bytes name;
  append_text(name, "other");
  append_option(in, NBD_OPT_EXPORT_NAME, name);
  EXPECT_TRUE(feed(in).empty());
  EXPECT_EQ(negotiation_->state(), Negotiation::State::closed);
  EXPECT_EQ(negotiation_->selected(), nullptr);
}

TEST_F(NbdNegotiation, GoWithEveryInformation) {
  agree_structured();
  const auto replies =
      ask(NBD_OPT_GO, info_data("", {NBD_INFO_NAME, NBD_INFO_DESCRIPTION, NBD_INFO_BLOCK_SIZE}));
  ASSERT_EQ(replies.size(), 5u);
  EXPECT_EQ(replies.back().type, NBD_REP_ACK);
  InfoExport info;
  ASSERT_EQ(replies[0].data.size(), sizeof(info));
  std::memcpy(&info, replies[0].data.data(), sizeof(info));
  EXPECT_EQ(info.size_bytes.get(), 1u << 20);
  const uint16_t flags = info.transmission_flags.get();
  EXPECT_TRUE(flags & NBD_FLAG_CAN_MULTI_CONN);
  EXPECT_TRUE(flags & NBD_FLAG_SEND_DF);
  EXPECT_TRUE(flags & NBD_FLAG_SEND_TRIM);
  EXPECT_TRUE(flags & NBD_FLAG_SEND_FAST_ZERO);
  InfoBlockSize sizes;
  ASSERT_EQ(replies[1].data.size(), sizeof(sizes));
  std::memcpy(&sizes, replies[1].data.data(), sizeof(sizes));
  EXPECT_EQ(sizes.minimum_bytes.get(), 512u);
  EXPECT_EQ(sizes.preferred_bytes.get(), 4096u);
  EXPECT_EQ(sizes.maximum_bytes.get(), 32u << 20);
  EXPECT_EQ(negotiation_->state(), Negotiation::State::transmission);
  EXPECT_TRUE(negotiation_->agreed().structured_replies);
  EXPECT_FALSE(negotiation_->agreed().allocation_context);
}

TEST_F(NbdNegotiation, FlagsFollowTheDevice) {
  device_.mutable_info().can_discard = false;
  const uint16_t flags = exports_.find("disk")->transmission_flags(false);
  EXPECT_FALSE(flags & (NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_FAST_ZERO | NBD_FLAG_SEND_DF));
  EXPECT_TRUE(flags & NBD_FLAG_SEND_WRITE_ZEROES);
}

TEST_F(NbdNegotiation, InfoDoesNotEnterTransmission) {
  EXPECT_EQ(ask(NBD_OPT_INFO, info_data("disk")).back().type, NBD_REP_ACK);
  EXPECT_EQ(negotiation_->state(), Negotiation::State::options);
  EXPECT_EQ(ask(NBD_OPT_INFO, info_data("nope")).back().type, NBD_REP_ERR_UNKNOWN);
  EXPECT_EQ(ask(NBD_OPT_GO, info_data("nope")).back().type, NBD_REP_ERR_UNKNOWN);
  EXPECT_EQ(negotiation_->state(), Negotiation::State::options);
}

TEST_F(NbdNegotiation, ListNamesEveryExport) {
  TestDevice second(reactor_, 4096);
  ASSERT_TRUE(exports_.add("two", "", second).ok());
  const auto replies = ask(NBD_OPT_LIST);
  ASSERT_EQ(replies.size(), 3u);
  EXPECT_EQ(replies[0].type, NBD_REP_SERVER);
  EXPECT_EQ(replies[0].data.size(), 4 + 4 + 6u);  // length, "disk", "a disk"
  EXPECT_EQ(replies[2].type, NBD_REP_ACK);
  // With two exports there is no default one.
  EXPECT_EQ(ask(NBD_OPT_GO, info_data("")).back().type, NBD_REP_ERR_UNKNOWN);
  EXPECT_EQ(ask(NBD_OPT_LIST, Bytes(1)).back().type, NBD_REP_ERR_INVALID);
}

TEST_F(NbdNegotiation, AbortIsAcknowledged) {
  const auto replies = ask(NBD_OPT_ABORT, Bytes(3));
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].type, NBD_REP_ACK);
  EXPECT_EQ(negotiation_->state(), Negotiation::State::closed);
  EXPECT_TRUE(negotiation_->reason().empty());
}

TEST_F(NbdNegotiation, TlsAndUnknownOptionsAreUnsupportedAndTheNextOneStillParses) {
  EXPECT_EQ(ask(NBD_OPT_STARTTLS).back().type, NBD_REP_ERR_UNSUP);
  EXPECT_EQ(ask(4711, Bytes(100)).back().type, NBD_REP_ERR_UNSUP);
  EXPECT_EQ(ask(NBD_OPT_LIST).back().type, NBD_REP_ACK);
}

TEST_F(NbdNegotiation, MetaContexts) {
  EXPECT_EQ(ask(NBD_OPT_SET_META_CONTEXT, meta_data("disk", {"base:allocation"})).back().type,
            NBD_REP_ERR_INVALID);  // structured replies come first
  agree_structured();
  EXPECT_EQ(ask(NBD_OPT_LIST_META_CONTEXT, meta_data("disk", {})).size(), 2u);
  EXPECT_EQ(ask(NBD_OPT_LIST_META_CONTEXT, meta_data("disk", {"base:"})).size(), 2u);
  EXPECT_EQ(ask(NBD_OPT_LIST_META_CONTEXT, meta_data("disk", {"qemu:"})).size(), 1u);
  EXPECT_EQ(ask(NBD_OPT_SET_META_CONTEXT, meta_data("disk", {"base:"})).size(), 1u);
  EXPECT_EQ(ask(NBD_OPT_SET_META_CONTEXT, meta_data("disk", {"base:nonsense"})).size(), 1u);
  EXPECT_EQ(ask(NBD_OPT_SET_META_CONTEXT, meta_data("nope", {"base:allocation"})).back().type,
            NBD_REP_ERR_UNKNOWN);
  const auto replies = ask(NBD_OPT_SET_META_CONTEXT, meta_data("disk", {"x:y", "base:allocation"}));
  ASSERT_EQ(replies.size(), 2u);
  EXPECT_EQ(replies[0].type, NBD_REP_META_CONTEXT);
  EXPECT_EQ(replies[0].data.size(), 4 + 15u);
  ask(NBD_OPT_GO, info_data("disk"));
  EXPECT_TRUE(negotiation_->agreed().allocation_context);
}

TEST_F(NbdNegotiation, AFailedSetMetaContextForgetsTheOneBefore) {
  agree_structured();
  EXPECT_EQ(ask(NBD_OPT_SET_META_CONTEXT, meta_data("disk", {"base:allocation"})).size(), 2u);
  EXPECT_EQ(ask(NBD_OPT_SET_META_CONTEXT, Bytes(3)).back().type, NBD_REP_ERR_INVALID);
  ask(NBD_OPT_GO, info_data("disk"));
  EXPECT_FALSE(negotiation_->agreed().allocation_context);
}

TEST_F(NbdNegotiation, GarbageAndExcessEndTheConnection) {
  Bytes in;
  append_client_flags(in);
  in.resize(in.size() + 16, std::byte{0x55});
  feed(in);
  EXPECT_EQ(negotiation_->state(), Negotiation::State::closed);
  EXPECT_FALSE(negotiation_->reason().empty());

  negotiation_.emplace(exports_, out_);
  in.clear();
  append(in, Be32(0x100));
  feed(in);
  EXPECT_EQ(negotiation_->state(), Negotiation::State::closed);

  negotiation_.emplace(exports_, out_);
  for (uint32_t i = 0; i < kMaxOptions; ++i) ask(4711);
  EXPECT_EQ(negotiation_->state(), Negotiation::State::options);
  ask(4711);
  EXPECT_EQ(negotiation_->state(), Negotiation::State::closed);
}

TEST_F(NbdNegotiation, ExportsThatCannotBeServed) {
  EXPECT_EQ(exports_.add("disk", "", device_).error().code, Errc::exists);
  EXPECT_EQ(exports_.add("", "", device_).error().code, Errc::invalid);
  EXPECT_EQ(exports_.add(std::string(5000, 'x'), "", device_).error().code, Errc::invalid);
  TestDevice odd(reactor_, 4096);
  odd.mutable_info().alignment_bytes = 768;
  EXPECT_EQ(exports_.add("odd", "", odd).error().code, Errc::invalid);
}

}  // namespace
}  // namespace latte::nbd::test
