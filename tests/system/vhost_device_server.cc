// Serves devices over vhost-user-blk until SIGTERM or SIGINT, for interoperability tests and
// measurements of the front end alone:
//
//   vhost_device_server POLLING ADDRESS SIZE_BYTES|FILE [ADDRESS SIZE_BYTES|FILE]...
//
// POLLING: adaptive, always or never. A number is a disk in memory, anything else an existing file.
// Prints "ready" when front-ends may come. Exit: 0 after a clean stop, 2 for wrong use.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/vhost_user_server.h"
#include "runtime/call_on.h"
#include "runtime/uring_reactor.h"
#include "test_device.h"

namespace {

int fail(std::string_view message) {
  fmt::print(stderr, "vhost_device_server: {}\n", message);
  return 2;
}

struct Served {
  std::unique_ptr<latte::BlockDevice> device;
  std::unique_ptr<latte::VhostUserServer> server;
};

latte::Task<void> stop_all(std::vector<Served>* all) {
  for (Served& one : *all) co_await one.server->stop();
}

latte::Result<Served> serve(latte::UringReactor& reactor, latte::VhostUserServerOptions options,
                            std::string_view address, std::string_view what) {
  Served served;
  auto device = latte::test::open_device(reactor, what);
  if (!device) return device.error();
  served.device = device.take();
  const auto parsed = latte::ListenAddress::parse(address);
  if (!parsed) return parsed.error();
  auto server = latte::VhostUserServer::listen(reactor, parsed.value(), options, std::string(what),
                                               *served.device);
  if (!server) return server.error();
  served.server = server.take();
  return served;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc % 2 != 0)
    return fail("usage: vhost_device_server POLLING ADDRESS SIZE_BYTES|FILE [ADDRESS ...]...");
  latte::VhostUserServerOptions options;
  const std::string_view polling = argv[1];
  if (polling == "never") options.polling = latte::Polling::never;
  if (polling == "always") options.polling = latte::Polling::always;
  latte::UringReactor::Options reactor_options;
  reactor_options.polling = options.polling;
  auto reactor = latte::UringReactor::create(std::move(reactor_options));
  if (!reactor) return fail(reactor.error().message);
  std::vector<Served> all;
  for (int i = 2; i + 1 < argc; i += 2) {
    auto served = serve(*reactor.value(), options, argv[i], argv[i + 1]);
    if (!served) return fail(served.error().message);
    all.push_back(served.take());
  }
  latte::test::stop_by_signal(*reactor.value());
  for (Served& one : all) one.server->start();
  fmt::print("ready\n");
  std::fflush(stdout);
  reactor.value()->run();
  fmt::print("system calls: {}\n", reactor.value()->system_calls());
  latte::run_task(*reactor.value(), stop_all(&all));
  reactor.value()->shutdown();
  return 0;
}
