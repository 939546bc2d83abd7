#include "study/device_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/buffer.h"
#include "base/histogram.h"
#include "base/random.h"
#include "device/file_device.h"
#include "runtime/call_on.h"

namespace latte::study {
namespace {

constexpr uint64_t kLeastBytes = 16u << 20;
constexpr uint32_t kStreamBytes = 128u << 10;

std::vector<ProbePoint> planned_points(bool write) {
  std::vector<ProbePoint> points;
  for (const bool is_read : {true, false}) {
    if (!is_read && !write) break;
    for (const uint32_t depth : {1u, 4u, 16u, 64u, 128u})
      points.push_back({is_read, false, depth, kBlockBytes, 0, 0, 0});
    points.push_back({is_read, true, 16, kStreamBytes, 0, 0, 0});
  }
  return points;
}

/// One point under way.
struct Load {
  UringReactor& reactor;
  FileDevice& device;
  const ProbePoint& point;
  Random random;
  TimeNs end_ns = 0;
  uint64_t bytes = 0;
  uint64_t next = 0;
  Histogram latencies{};
  IoStatus status = IoStatus::ok;
  uint32_t running = 0;
};

Task<void> worker(Load* load) {
  const ProbePoint& point = load->point;
  Buffer data(point.length_bytes);
  for (size_t i = 0; i < data.size(); ++i) data.data()[i] = static_cast<std::byte>(i * 131);
  const uint64_t places = load->device.info().size_bytes / point.length_bytes;
  while (load->status == IoStatus::ok && load->reactor.now() < load->end_ns &&
         load->bytes < kMostPointBytes) {
    const uint64_t place = point.sequential ? load->next++ % places : load->random.below(places);
    const uint64_t offset = place * point.length_bytes;
    load->bytes += point.length_bytes;
    const TimeNs start_ns = load->reactor.now();
    const IoStatus status = point.is_read ? co_await load->device.read(offset, data.span())
                                          : co_await load->device.write(offset, data.span());
    if (status != IoStatus::ok) load->status = status;
    load->latencies.record(load->reactor.now() - start_ns);
  }
  --load->running;
}

Task<IoStatus> run_point(Load* load, ProbePoint* out, double seconds) {
  const TimeNs start_ns = load->reactor.now();
  load->end_ns = start_ns + static_cast<TimeNs>(seconds * 1e9);
  for (uint32_t i = 0; i < load->point.depth; ++i) {
    ++load->running;
    Task<void> task = worker(load);
    load->reactor.spawn(std::move(task));
  }
  while (load->running > 0) co_await load->reactor.sleep(kMillisecond);
  const double elapsed_s = static_cast<double>(load->reactor.now() - start_ns) / 1e9;
  const auto count = static_cast<double>(load->latencies.count());
  out->iops = count / elapsed_s;
  out->mean_us = static_cast<double>(load->latencies.sum_ns()) / count / 1e3;
  out->p99_us = static_cast<double>(load->latencies.quantile_ns(0.99)) / 1e3;
  co_return load->status;
}

}  // namespace

Result<std::vector<ProbePoint>> probe_device(const ProbeOptions& options) {
  auto reactor = UringReactor::create({});
  if (!reactor) return reactor.error();
  FileDevice::Options open;
  open.path = options.path;
  open.read_only = !options.write;
  auto device = FileDevice::open(*reactor.value(), open);
  if (!device) return device.error();
  const uint64_t size_bytes = device.value()->info().size_bytes;
  if (size_bytes < kLeastBytes)
    return Error{Errc::invalid, fmt::format("{} has {} bytes; a measurement needs at least {}",
                                            options.path, size_bytes, kLeastBytes)};
  if (!device.value()->direct())
    return Error{Errc::unsupported,
                 fmt::format("{}: its file system has no direct I/O, so only the page cache could "
                             "be measured; choose a file on another one",
                             options.path)};
  if (options.write) {
    const auto locked = device.value()->lock_exclusive();
    if (!locked) return locked.error();
  }
  std::vector<ProbePoint> points = planned_points(options.write);
  for (ProbePoint& point : points) {
    Load load{*reactor.value(), *device.value(), point, Random(options.seed)};
    const IoStatus status =
        run_task(*reactor.value(), run_point(&load, &point, options.point_seconds));
    if (status != IoStatus::ok)
      return Error{Errc::io,
                   fmt::format("{}: {} at depth {}: {}", options.path,
                               point.is_read ? "reads" : "writes", point.depth, to_string(status))};
  }
  return points;
}

}  // namespace latte::study
