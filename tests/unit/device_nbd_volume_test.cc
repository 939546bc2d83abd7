// An NBD cloud volume through libnbd: against this project's own server, whose device can fail and
// forget, and a relay between the two that cuts connections after any number of bytes.
#include "device/nbd_cloud_volume.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <map>
#include <thread>

#include "device/memory_device.h"
#include "device/nbd_link.h"
#include "device/retrying_device.h"
#include "device/unique_fd.h"
#include "frontend/nbd_server.h"
#include "runtime/call_on.h"

namespace latte {
namespace {

constexpr uint64_t kBaseBytes = 2u << 20;
constexpr uint64_t kLogBytes = 1u << 20;

/// Memory behind a volatile cache that is lost on order, errors on order, and any size.
class ForgetfulDevice final : public BlockDevice {
 public:
  explicit ForgetfulDevice(uint64_t bytes) : info_(), now_(bytes), durable_(bytes) {
    info_.name = "forgetful";
    info_.size_bytes = bytes;
    info_.alignment_bytes = kSectorBytes;
    info_.can_discard = true;
  }
  const DeviceInfo& info() const override { return info_; }
  bool submit(IoRequest& request) override {
    request.status = IoStatus::ok;
    if (failing > 0 && request.op != IoOp::read) {
      --failing;
      request.status = IoStatus::io_error;
      return false;
    }
    if (request.op == IoOp::flush) {
      ++flushes;
      durable_ = now_;
      return false;
    }
    std::byte* at = now_.data() + request.offset;
    if (request.op == IoOp::discard || request.op == IoOp::write_zeroes)
      std::memset(at, 0, request.length);
    for (uint32_t i = 0; i < request.iov_count; ++i) {
      if (request.op == IoOp::read)
        std::memcpy(request.iov[i].iov_base, at, request.iov[i].iov_len);
      if (request.op == IoOp::write)
        std::memcpy(at, request.iov[i].iov_base, request.iov[i].iov_len);
      at += request.iov[i].iov_len;
    }
    return false;
  }
  void forget() { now_ = durable_; }
  void set_size(uint64_t bytes) { info_.size_bytes = bytes; }
  int durable(uint64_t at) const { return static_cast<int>(durable_[at]); }

  int failing = 0;
  uint64_t flushes = 0;

 private:
  DeviceInfo info_;
  std::vector<std::byte> now_;
  std::vector<std::byte> durable_;
};

/// Passes bytes on between clients and the server's socket, until a connection has had its share.
class Relay {
 public:
  Relay(std::string from, std::string to) : from_(std::move(from)), to_(std::move(to)) {
    ::unlink(from_.c_str());
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = named(from_);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    EXPECT_EQ(::listen(listener_.get(), 64), 0);
    thread_ = std::thread([this] { run(); });
  }
  ~Relay() {
    stopping_ = true;
    thread_.join();
    ::unlink(from_.c_str());
  }
  /// All connections together end after that many more bytes, once.
  void cut_after(int64_t bytes) { budget_ = bytes; }
  void cut_now() { cut_ = true; }
  /// Nothing gets through, and nobody is told.
  void set_silent(bool silent) { silent_ = silent; }
  uint64_t connections() const { return connections_; }

 private:
  static sockaddr_un named(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
  }
  void accept_one() {
    UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    UniqueFd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = named(to_);
    if (::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
      return;
    ++connections_;
    const int a = client.get(), b = server.get();
    fds_.emplace(a, std::pair{std::move(client), b});
    fds_.emplace(b, std::pair{std::move(server), a});
  }
  /// False: the connection is over.
  bool move_from(int fd, int peer) {
    char bytes[65536];
    size_t most = sizeof(bytes);
    const int64_t left = budget_;
    if (left >= 0) most = std::min(most, static_cast<size_t>(left) + 1);
    const ssize_t got = ::recv(fd, bytes, most, MSG_DONTWAIT);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    const ssize_t pass = left >= 0 ? std::min<ssize_t>(got, left) : got;
    for (ssize_t sent = 0; sent < pass;) {
      const ssize_t n = ::send(peer, bytes + sent, static_cast<size_t>(pass - sent), MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += n;
    }
    if (left >= 0) budget_ = left - pass;
    if (pass == got) return true;
    budget_ = -1;
    cut_ = true;
    return true;
  }
  void run() {
    while (!stopping_) {
      if (cut_.exchange(false)) fds_.clear();
      std::vector<pollfd> polled{{listener_.get(), POLLIN, 0}};
      for (const auto& [fd, other] : fds_) polled.push_back({fd, POLLIN, 0});
      if (::poll(polled.data(), polled.size(), 2) <= 0 || silent_) {
        if (silent_) ::usleep(1000);
        continue;
      }
      if (polled[0].revents != 0) accept_one();
      for (size_t i = 1; i < polled.size() && !cut_; ++i) {
        const int fd = polled[i].fd;
        if (polled[i].revents == 0 || !fds_.contains(fd)) continue;
        const int peer = fds_.at(fd).second;
        if (move_from(fd, peer)) continue;
        fds_.erase(peer);
        fds_.erase(fd);
      }
    }
  }

  const std::string from_, to_;
  UniqueFd listener_;
  std::thread thread_;
  std::map<int, std::pair<UniqueFd, int>> fds_;
  std::atomic<bool> stopping_{false}, cut_{false}, silent_{false};
  std::atomic<int64_t> budget_{-1};
  std::atomic<uint64_t> connections_{0};
};

struct Rig {
  std::string directory;
  std::unique_ptr<UringReactor> reactor;
  ForgetfulDevice base{kBaseBytes};
  ForgetfulDevice log{kLogBytes};
  std::unique_ptr<NbdServer> server;
  std::unique_ptr<Relay> relay;
  NbdAddress address;

  Rig() {
    char name[] = "/tmp/latte_nbd_XXXXXX";
    directory = ::mkdtemp(name);
    auto made = UringReactor::create({});
    LATTE_CHECK(made.ok());
    reactor = made.take();
    auto listen = ListenAddress::parse("unix:" + directory + "/server");
    LATTE_CHECK(listen.ok());
    auto opened = NbdServer::listen(*reactor, listen.value(), {});
    LATTE_CHECK(opened.ok());
    server = opened.take();
    LATTE_CHECK(server->add_export("base", "", base).ok());
    LATTE_CHECK(server->add_export("log", "", log).ok());
    server->start();
    relay = std::make_unique<Relay>(directory + "/relay", directory + "/server");
    auto parsed = NbdAddress::parse(
        "nbd+unix:///base?log=log&lease=500ms&connections=2&socket=" + directory + "/relay");
    LATTE_CHECK(parsed.ok());
    address = parsed.take();
  }
  ~Rig() {
    relay.reset();
    run_task(*reactor, server->stop());
    reactor->shutdown();
    server.reset();
    ::rmdir(directory.c_str());
  }
  Result<std::unique_ptr<LeasedVolume>> open(NbdVolumeOptions options = {}) {
    return run_task(*reactor, open_nbd_volume(*reactor, address, options));
  }
  void close(LeasedVolume& volume) { run_task(*reactor, volume.close()); }
};

Task<IoStatus> io(BlockDevice* device, IoOp op, uint64_t offset, std::vector<std::byte>* data) {
  IoRequest request;
  iovec vector{data->data(), data->size()};
  request.op = op;
  request.offset = offset;
  request.length = data->size();
  request.iov = &vector;
  request.iov_count = op == IoOp::read || op == IoOp::write ? 1 : 0;
  co_return co_await device->io(request);
}

Result<void> own(Rig& rig, LeasedVolume& volume, uint64_t from) {
  SuperBytes super;
  super.fill(std::byte{9});
  return run_task(*rig.reactor, volume.swap_super(from, from + 1, super));
}

TEST(NbdVolume, KeepsWhatIsWritten) {
  Rig rig;
  auto volume = rig.open({kBaseBytes, {}, false, false});
  ASSERT_TRUE(volume) << volume.error().message;
  LeasedVolume& cloud = *volume.value();
  EXPECT_EQ(cloud.base().info().size_bytes, kBaseBytes);
  EXPECT_EQ(cloud.log().info().size_bytes, kLogBytes - kLeasedHeadBytes);
  const auto nothing = run_task(*rig.reactor, cloud.read_super());
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, Errc::not_found);
  ASSERT_TRUE(own(rig, cloud, 0));
  std::vector<std::byte> data(96u << 10, std::byte{0x5a});
  EXPECT_EQ(run_task(*rig.reactor, io(&cloud.base(), IoOp::write, kBlockBytes, &data)),
            IoStatus::ok);
  EXPECT_EQ(rig.base.durable(kBlockBytes), 0);
  EXPECT_EQ(run_task(*rig.reactor, io(&cloud.base(), IoOp::flush, 0, &data)), IoStatus::ok);
  EXPECT_EQ(rig.base.durable(kBlockBytes), 0x5a);
  std::vector<std::byte> some(kBlockBytes);
  EXPECT_EQ(run_task(*rig.reactor, io(&cloud.base(), IoOp::discard, kBlockBytes, &some)),
            IoStatus::ok);
  EXPECT_EQ(run_task(*rig.reactor, io(&cloud.base(), IoOp::read, kBlockBytes, &some)),
            IoStatus::ok);
  EXPECT_EQ(some[0], std::byte{0});
  EXPECT_EQ(run_task(*rig.reactor, io(&cloud.base(), IoOp::read, 2 * kBlockBytes, &some)),
            IoStatus::ok);
  EXPECT_EQ(some[0], std::byte{0x5a});
  EXPECT_EQ(run_task(*rig.reactor, io(&cloud.base(), IoOp::write, kBaseBytes, &some)),
            IoStatus::invalid);
  rig.close(cloud);
}

/// Writes, reads and flushes through a relay that cuts after `cut` bytes; everything must be there.
void survive(Rig& rig, LeasedVolume& cloud, int64_t cut, int round) {
  DeviceTraffic traffic;
  RetryingDevice device(*rig.reactor, cloud.base(), traffic, 30 * kSecond);
  rig.relay->cut_after(cut);
  for (int step = 0; step < 3; ++step) {
    std::vector<std::byte> data(12u << 10, static_cast<std::byte>(3 * round + step));
    const uint64_t offset = static_cast<uint64_t>(step) * kBlockBytes;  // each overlaps the last
    ASSERT_EQ(run_task(*rig.reactor, io(&device, IoOp::write, offset, &data)), IoStatus::ok);
  }
  std::vector<std::byte> read(20u << 10);
  ASSERT_EQ(run_task(*rig.reactor, io(&device, IoOp::read, 0, &read)), IoStatus::ok);
  ASSERT_EQ(run_task(*rig.reactor, io(&device, IoOp::flush, 0, &read)), IoStatus::ok);
  const int expected[] = {3 * round, 3 * round + 1, 3 * round + 2, 3 * round + 2, 3 * round + 2};
  for (size_t block = 0; block < 5; ++block) {
    const auto value = static_cast<std::byte>(expected[block]);
    ASSERT_EQ(read[block * kBlockBytes], value) << "cut " << cut << " block " << block;
    ASSERT_EQ(static_cast<std::byte>(rig.base.durable(block * kBlockBytes)), value) << cut;
  }
}

TEST(NbdVolume, ConnectionsThatEndBetweenAnyTwoBytesLoseNothing) {
  Rig rig;
  auto volume = rig.open();
  ASSERT_TRUE(volume) << volume.error().message;
  ASSERT_TRUE(own(rig, *volume.value(), 0));
  int round = 0;
  // Steps that share no factor with the requests' sizes, through all of a round's traffic; the
  // first bytes one by one, for the headers.
  for (int64_t cut = 0; cut < 64 && !HasFatalFailure(); ++cut)
    survive(rig, *volume.value(), cut, ++round);
  for (int64_t cut = 64; cut < 70'000 && !HasFatalFailure(); cut += 2311)
    survive(rig, *volume.value(), cut, ++round);
  EXPECT_GT(volume.value()->base_device().losses(), 50u);
  rig.close(*volume.value());
}

TEST(NbdVolume, AServerThatForgetsWhatWasNotFlushedIsToldAgain) {
  Rig rig;
  auto volume = rig.open();
  ASSERT_TRUE(volume);
  ASSERT_TRUE(own(rig, *volume.value(), 0));
  std::vector<std::byte> data(64u << 10, std::byte{0x77});
  BlockDevice& base = volume.value()->base();
  ASSERT_EQ(run_task(*rig.reactor, io(&base, IoOp::write, 0, &data)), IoStatus::ok);
  EXPECT_EQ(volume.value()->base_device().unflushed_bytes(), data.size());
  rig.base.forget();
  rig.relay->cut_now();
  ASSERT_EQ(run_task(*rig.reactor, io(&base, IoOp::flush, 0, &data)), IoStatus::ok);
  EXPECT_EQ(rig.base.durable(0), 0x77);
  EXPECT_EQ(rig.base.durable((64u << 10) - 1), 0x77);
  EXPECT_GT(volume.value()->base_device().replays(), 0u);
  EXPECT_EQ(volume.value()->base_device().unflushed_bytes(), 0u);
  rig.close(*volume.value());
}

TEST(NbdVolume, ErrorsOfTheServerComeThrough) {
  Rig rig;
  auto volume = rig.open();
  ASSERT_TRUE(volume);
  ASSERT_TRUE(own(rig, *volume.value(), 0));
  std::vector<std::byte> data(kBlockBytes, std::byte{1});
  rig.base.failing = 1;
  EXPECT_EQ(run_task(*rig.reactor, io(&volume.value()->base(), IoOp::write, 0, &data)),
            IoStatus::io_error);
  EXPECT_EQ(run_task(*rig.reactor, io(&volume.value()->base(), IoOp::write, 0, &data)),
            IoStatus::ok);
  rig.close(*volume.value());
}

TEST(NbdVolume, AnExportThatShrinksIsNotWrittenTo) {
  Rig rig;
  auto volume = rig.open();
  ASSERT_TRUE(volume);
  ASSERT_TRUE(own(rig, *volume.value(), 0));
  std::vector<std::byte> data(kBlockBytes, std::byte{1});
  rig.base.set_size(kBaseBytes / 2);
  rig.relay->cut_now();
  ::usleep(20'000);
  EXPECT_EQ(run_task(*rig.reactor, io(&volume.value()->base(), IoOp::write, 0, &data)),
            IoStatus::io_error);
  EXPECT_NE(volume.value()->base_device().trouble().find("shrank"), std::string::npos);
  rig.base.set_size(kBaseBytes);
  IoStatus status = IoStatus::io_error;
  for (int i = 0; i < 100 && status != IoStatus::ok; ++i)
    status = run_task(*rig.reactor, io(&volume.value()->base(), IoOp::write, 0, &data));
  EXPECT_EQ(status, IoStatus::ok);
  rig.close(*volume.value());
}

TEST(NbdVolume, AVolumeWhoseExportsAreNotAsTheyShouldBeIsRefused) {
  Rig rig;
  const auto too_small = rig.open({kBaseBytes + kBlockBytes, {}, false, false});
  ASSERT_FALSE(too_small);
  EXPECT_EQ(too_small.error().code, Errc::invalid);
  rig.address.base_export = "none";
  const auto missing = rig.open();
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("none"), std::string::npos);
  rig.address.socket = rig.directory + "/nobody";
  const auto nobody = rig.open();
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, Errc::not_found) << nobody.error().message;
}

TEST(NbdVolume, ACutHandshakeIsAnErrorAndNoMore) {
  Rig rig;
  for (int64_t cut = 0; cut < 400; cut += 9) {
    rig.relay->cut_after(cut);
    auto volume = rig.open();
    if (volume) rig.close(*volume.value());
  }
  rig.relay->cut_after(-1);
  auto volume = rig.open();
  ASSERT_TRUE(volume) << volume.error().message;
  rig.close(*volume.value());
}

}  // namespace
}  // namespace latte
