// Serves one device over NBD until SIGTERM or SIGINT, for interoperability tests and measurements of the
// front end alone:
//
//   nbd_memory_server ADDRESS NAME SIZE_BYTES      a disk in memory
//   nbd_memory_server ADDRESS NAME FILE            an existing file
//
// Prints "ready URI" when clients may come. Exit: 0 after a clean stop, 2 for wrong use.
#include <fmt/format.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "device/file_device.h"
#include "device/memory_device.h"
#include "frontend/nbd_server.h"
#include "runtime/call_on.h"
#include "runtime/uring_reactor.h"

namespace {

latte::UringReactor* stopped_by_signal = nullptr;

int fail(std::string_view message) {
  fmt::print(stderr, "nbd_memory_server: {}\n", message);
  return 2;
}

latte::Result<std::unique_ptr<latte::BlockDevice>> open_device(latte::UringReactor& reactor,
                                                               std::string_view what) {
  uint64_t size_bytes = 0;
  const auto [end, error] = std::from_chars(what.data(), what.data() + what.size(), size_bytes);
  if (error == std::errc() && end == what.data() + what.size())
    return std::unique_ptr<latte::BlockDevice>(new latte::MemoryDevice(size_bytes));
  latte::FileDevice::Options options;
  options.path = what;
  auto file = latte::FileDevice::open(reactor, std::move(options));
  if (!file) return file.error();
  return std::unique_ptr<latte::BlockDevice>(file.take());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return fail("usage: nbd_memory_server ADDRESS NAME SIZE_BYTES|FILE");
  auto reactor = latte::UringReactor::create({});
  if (!reactor) return fail(reactor.error().message);
  auto device = open_device(*reactor.value(), argv[3]);
  if (!device) return fail(device.error().message);
  const auto address = latte::ListenAddress::parse(argv[1]);
  if (!address) return fail(address.error().message);
  auto server = latte::NbdServer::listen(*reactor.value(), address.value(), {});
  if (!server) return fail(server.error().message);
  const auto added = server.value()->add_export(argv[2], "test disk", *device.value());
  if (!added) return fail(added.error().message);

  stopped_by_signal = reactor.value().get();
  for (int number : {SIGTERM, SIGINT})
    std::signal(number, [](int) { stopped_by_signal->stop(); });
  server.value()->start();
  fmt::print("ready {}\n", server.value()->uri(argv[2]));
  std::fflush(stdout);
  reactor.value()->run();
  latte::run_task(*reactor.value(), server.value()->stop());
  reactor.value()->shutdown();
  return 0;
}
