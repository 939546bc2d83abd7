// Serves one device over NBD until SIGTERM or SIGINT, for interoperability tests and measurements
// of the front end alone:
//
//   nbd_memory_server ADDRESS NAME SIZE_BYTES      a disk in memory
//   nbd_memory_server ADDRESS NAME FILE            an existing file
//
// Prints "ready URI" when clients may come. Exit: 0 after a clean stop, 2 for wrong use.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "frontend/nbd_server.h"
#include "runtime/call_on.h"
#include "runtime/uring_reactor.h"
#include "test_device.h"

namespace {

int fail(std::string_view message) {
  fmt::print(stderr, "nbd_memory_server: {}\n", message);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return fail("usage: nbd_memory_server ADDRESS NAME SIZE_BYTES|FILE");
  auto reactor = latte::UringReactor::create({});
  if (!reactor) return fail(reactor.error().message);
  auto device = latte::test::open_device(*reactor.value(), argv[3]);
  if (!device) return fail(device.error().message);
  const auto address = latte::ListenAddress::parse(argv[1]);
  if (!address) return fail(address.error().message);
  auto server = latte::NbdServer::listen(*reactor.value(), address.value(), {});
  if (!server) return fail(server.error().message);
  const auto added = server.value()->add_export(argv[2], "test disk", *device.value());
  if (!added) return fail(added.error().message);

  latte::test::stop_by_signal(*reactor.value());
  server.value()->start();
  fmt::print("ready {}\n", server.value()->uri(argv[2]));
  std::fflush(stdout);
  reactor.value()->run();
  latte::run_task(*reactor.value(), server.value()->stop());
  reactor.value()->shutdown();
  return 0;
}
