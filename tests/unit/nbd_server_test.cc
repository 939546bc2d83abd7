#include "frontend/nbd_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "device/unique_fd.h"
#include "nbd_harness.h"
#include "runtime/call_on.h"

namespace latte::nbd::test {
namespace {

TEST(ListenAddress, ReadsWhatItWrites) {
  for (const char* text : {"unix:db.sock", "unix:/run/latte/a b.sock", "tcp:127.0.0.1:10809",
                           "tcp:localhost:0", "tcp:[::1]:65535"}) {
    const auto address = ListenAddress::parse(text);
    ASSERT_TRUE(address.ok()) << text;
    EXPECT_EQ(address.value().to_string(), text);
  }
  EXPECT_EQ(ListenAddress::parse("tcp:[::1]:10809").value().nbd_uri("db"), "nbd://[::1]:10809/db");
  EXPECT_EQ(ListenAddress::parse("unix:/a").value().nbd_uri("db"), "nbd+unix:///db?socket=/a");
}

TEST(ListenAddress, RefusesAndNamesTheValue) {
  for (const char* text : {"", "db.sock", "unix:", "tcp:", "tcp:host", "tcp::1", "tcp:::1:5",
                           "tcp:h:65536", "tcp:h:-1", "tcp:h:1x", "tcp:h:", "udp:h:1"}) {
    const auto address = ListenAddress::parse(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_EQ(address.error().code, Errc::invalid);
    EXPECT_NE(address.error().message.find(text), std::string::npos) << address.error().message;
  }
}

class NbdServerTest : public testing::Test {
 protected:
  NbdServerTest() {
    char name[] = "/tmp/latte-nbd-XXXXXX";
    directory_ = ::mkdtemp(name);
    auto reactor = UringReactor::create({});
    EXPECT_TRUE(reactor.ok());
    reactor_ = reactor.take();
    device_.emplace(*reactor_, 1u << 20);
    address_.path = directory_ + "/nbd.sock";
  }
  ~NbdServerTest() override {
    device_->set_held(false);
    reactor_->shutdown();
    std::filesystem::remove_all(directory_);
  }
  std::unique_ptr<NbdServer> serve(NbdServerOptions options = {}) {
    auto server = NbdServer::listen(*reactor_, address_, options);
    EXPECT_TRUE(server.ok());
    EXPECT_TRUE(server.value()->add_export("disk", "", *device_).ok());
    server.value()->start();
    return server.take();
  }
  void run_for(TimeNs duration_ns) { run_task(*reactor_, pause(reactor_.get(), duration_ns)); }
  static Task<void> pause(Reactor* reactor, TimeNs duration_ns) {
    co_await reactor->sleep(duration_ns);
  }
  UniqueFd connect() {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, address_.path.c_str());
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }
  static void send(const UniqueFd& fd, const Bytes& bytes) {
    ASSERT_EQ(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  /// Bytes that have arrived; nothing and `ended` if the server hung up.
  static size_t receive(const UniqueFd& fd, bool* ended = nullptr) {
    Bytes bytes(1 << 20);
    const ssize_t received = ::recv(fd.get(), bytes.data(), bytes.size(), 0);
    if (ended != nullptr) *ended = received == 0 || (received < 0 && errno == ECONNRESET);
    return received > 0 ? static_cast<size_t>(received) : 0;
  }

  std::string directory_;
  std::unique_ptr<UringReactor> reactor_;
  std::optional<TestDevice> device_;
  ListenAddress address_;
};

TEST_F(NbdServerTest, ServesAndRemovesItsSocket) {
  auto server = serve();
  const UniqueFd client = connect();
  send(client, handshake(false));
  run_for(20 * kMillisecond);
  EXPECT_EQ(server->client_count(), 1u);
  EXPECT_GT(receive(client), sizeof(Greeting));
  Bytes request;
  append_request(request, NBD_CMD_READ, 1, 0, 4096);
  send(client, request);
  run_for(20 * kMillisecond);
  EXPECT_EQ(receive(client), sizeof(SimpleReply) + 4096);
  run_task(*reactor_, server->stop());
  EXPECT_EQ(server->client_count(), 0u);
  bool ended = false;
  receive(client, &ended);
  EXPECT_TRUE(ended);
  EXPECT_FALSE(std::filesystem::exists(address_.path));
}

TEST_F(NbdServerTest, TooManyClientsAreTurnedAway) {
  NbdServerOptions options;
  options.connections = 2;
  auto server = serve(options);
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(connect());
  run_for(20 * kMillisecond);
  EXPECT_EQ(server->client_count(), 2u);
  EXPECT_EQ(receive(clients[0]), sizeof(Greeting));
  bool ended = false;
  EXPECT_EQ(receive(clients[2], &ended), 0u);
  EXPECT_TRUE(ended);
  // A place becomes free again.
  clients.erase(clients.begin());
  run_for(20 * kMillisecond);
  const UniqueFd late = connect();
  run_for(20 * kMillisecond);
  EXPECT_EQ(receive(late), sizeof(Greeting));
  run_task(*reactor_, server->stop());
}

TEST_F(NbdServerTest, AnAddressInUseIsRefusedAndNamed) {
  auto server = serve();
  // A live server greets; this one gets its turns only below, so it counts as hung, but not as
  // dead.
  const auto second = NbdServer::listen(*reactor_, address_, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Errc::busy);
  EXPECT_NE(second.error().message.find(address_.path), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(address_.path));
  run_task(*reactor_, server->stop());
}

TEST_F(NbdServerTest, OnlyAStaleSocketIsReplaced) {
  {
    // What a killed server leaves: a socket file nobody listens on.
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, address_.path.c_str());
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  auto server = serve();
  run_task(*reactor_, server->stop());
  std::ofstream(address_.path) << "precious";
  const auto refused = NbdServer::listen(*reactor_, address_, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::invalid);
  EXPECT_EQ(std::filesystem::file_size(address_.path), 8u);
}

TEST_F(NbdServerTest, ASocketThatWasReplacedIsNotRemoved) {
  auto server = serve();
  std::filesystem::remove(address_.path);
  std::ofstream(address_.path) << "another's";
  run_task(*reactor_, server->stop());
  EXPECT_TRUE(std::filesystem::exists(address_.path));
}

TEST_F(NbdServerTest, PathTooLong) {
  address_.path = directory_ + "/" + std::string(120, 'x');
  const auto refused = NbdServer::listen(*reactor_, address_, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("107"), std::string::npos);
}

TEST_F(NbdServerTest, StopDoesNotWaitForeverForADevice) {
  NbdServerOptions options;
  options.client.stop_ns = 50 * kMillisecond;
  auto server = serve(options);
  const UniqueFd client = connect();
  Bytes wire = handshake(false);
  append_request(wire, NBD_CMD_READ, 1, 0, 4096);
  send(client, wire);
  device_->set_held(true);
  run_for(20 * kMillisecond);
  EXPECT_EQ(device_->count(IoOp::read), 1u);
  run_task(*reactor_, server->stop());
  EXPECT_EQ(server->client_count(), 1u);
  server.reset();  // the connection outlives it
  device_->set_held(false);
  run_for(20 * kMillisecond);
  EXPECT_EQ(reactor_->task_count(), 0u);
}

TEST_F(NbdServerTest, StopIsNotHeldUpByAClientInTheHandshake) {
  auto server = serve();
  const UniqueFd silent = connect();
  run_for(20 * kMillisecond);
  const TimeNs before = reactor_->now();
  run_task(*reactor_, server->stop());
  EXPECT_LT(reactor_->now() - before, kSecond);
  EXPECT_EQ(server->client_count(), 0u);
}

}  // namespace
}  // namespace latte::nbd::test
