// What the servers of one floor (nbd_memory_server, vhost_device_server) share: a device from the
// command line, and a reactor that runs until SIGTERM or SIGINT.
//
// Thread rule: main's thread; one reactor a process. Limits: none.
#pragma once

#include <charconv>
#include <csignal>
#include <memory>
#include <string_view>

#include "device/file_device.h"
#include "device/memory_device.h"
#include "runtime/uring_reactor.h"

namespace latte::test {

/// A number of bytes is a disk in memory, anything else the path of an existing file.
inline Result<std::unique_ptr<BlockDevice>> open_device(UringReactor& reactor,
                                                        std::string_view what) {
  uint64_t size_bytes = 0;
  const auto [end, error] = std::from_chars(what.data(), what.data() + what.size(), size_bytes);
  if (error == std::errc() && end == what.data() + what.size())
    return std::unique_ptr<BlockDevice>(new MemoryDevice(size_bytes));
  FileDevice::Options options;
  options.path = what;
  auto file = FileDevice::open(reactor, std::move(options));
  if (!file) return file.error();
  return std::unique_ptr<BlockDevice>(file.take());
}

/// From now on SIGTERM and SIGINT make `reactor`'s run() return. It outlives them.
inline void stop_by_signal(UringReactor& reactor) {
  static UringReactor* stopped;
  stopped = &reactor;
  for (const int number : {SIGTERM, SIGINT}) std::signal(number, [](int) { stopped->stop(); });
}

}  // namespace latte::test
