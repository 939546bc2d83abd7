// DeviceProbe, the fit: the model's parameters one after another, each from the point that shows it
// most plainly - latency at depth 1 for sensing, IOPS at the greatest depth for the controller,
// bandwidth for the links - and the number of dies by trying.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "model/depth_driver.h"
#include "model/nvme_model.h"
#include "study/device_probe.h"

namespace latte::study {
namespace {

constexpr uint64_t kModelRequests = 20'000;
/// Of a read at depth 1: host and controller, then sensing; the rest is transfer.
constexpr double kOverheadPart = 0.15;
constexpr uint32_t kPointsOfKind = 6;  // random ones by depth, then the sequential one
constexpr uint32_t kDies[] = {1, 2, 4, 8, 16, 32, 64, 128, 256};

TimeNs us(double value) { return std::max<TimeNs>(1, static_cast<TimeNs>(value * 1e3)); }

double bandwidth(const ProbePoint& point) { return point.iops * point.length_bytes; }

/// What the model does under the load of `point`.
ProbePoint model_point(const model::NvmeOptions& options, const ProbePoint& point, uint64_t seed) {
  model::NvmeModel drive(options, seed);
  model::DepthLoad load;
  load.depth = point.depth;
  load.length_bytes = point.length_bytes;
  load.read_share = point.is_read ? 1 : 0;
  load.sequential = point.sequential;
  load.requests = kModelRequests;
  load.warm_up = load.depth;
  load.seed = seed;
  const model::DepthResult result = drive_at_depth(drive, load);
  const Histogram& of = point.is_read ? result.reads : result.writes;
  ProbePoint modelled = point;
  modelled.iops = result.iops;
  modelled.mean_us = static_cast<double>(of.sum_ns()) / static_cast<double>(of.count()) / 1e3;
  modelled.p99_us = static_cast<double>(of.quantile_ns(0.99)) / 1e3;
  return modelled;
}

double error_of(const ProbePoint& modelled, const ProbePoint& measured) {
  return std::abs(modelled.iops - measured.iops) / measured.iops;
}

/// Mean error over the points of one kind.
double error_over(const model::NvmeOptions& options, const std::vector<ProbePoint>& measured,
                  bool reads, uint64_t seed) {
  double sum = 0;
  double count = 0;
  for (const ProbePoint& point : measured) {
    if (point.is_read != reads) continue;
    sum += error_of(model_point(options, point, seed), point);
    count += 1;
  }
  return count == 0 ? 0 : sum / count;
}

void fit_reads(const std::vector<ProbePoint>& measured, model::NvmeOptions& options,
               uint64_t seed) {
  const ProbePoint& first = measured[0];
  const ProbePoint& deepest = measured[kPointsOfKind - 2];
  const ProbePoint& stream = measured[kPointsOfKind - 1];
  options.read_link_rate = bandwidth(stream);
  options.channel_rate = options.read_link_rate;
  options.command_ns = std::max<TimeNs>(1, static_cast<TimeNs>(1e9 / deepest.iops));
  const double transfers_us = 2 * first.length_bytes / options.read_link_rate * 1e6;
  const double command_us = static_cast<double>(options.command_ns) / 1e3;
  const double rest_us = std::max(1.0, first.mean_us - transfers_us - command_us);
  options.read_overhead_ns = us(rest_us * kOverheadPart);
  const double sense_us = rest_us * (1 - kOverheadPart);
  options.read_fast_ns = us(sense_us * 0.85);
  options.read_middle_ns = us(sense_us);
  options.read_slow_ns = us(sense_us * 1.15);
  double best = INFINITY;
  uint32_t best_dies = 1;
  for (const uint32_t dies : kDies) {
    options.dies = dies;
    options.channels = std::min(dies, 16u);
    const double error = error_over(options, measured, true, seed);
    if (error < best) {
      best = error;
      best_dies = dies;
    }
  }
  options.dies = best_dies;
  options.channels = std::min(best_dies, 16u);
}

void fit_writes(const std::vector<ProbePoint>& measured, model::NvmeOptions& options) {
  const ProbePoint& first = measured[kPointsOfKind];
  const ProbePoint& deepest = measured[2 * kPointsOfKind - 2];
  const ProbePoint& stream = measured[2 * kPointsOfKind - 1];
  options.write_link_rate = std::max(bandwidth(stream), bandwidth(deepest));
  const double transfer_us = first.length_bytes / options.write_link_rate * 1e6;
  const double command_us = static_cast<double>(options.command_ns) / 1e3;
  options.write_overhead_ns = us(std::max(1.0, first.mean_us - transfer_us - command_us));
  // The dies keep up with the link: what they can't is collection, which a probe this short does
  // not reach.
  const double rate = static_cast<double>(options.dies) * options.program_bytes;
  options.program_ns = std::min(options.program_ns, us(rate / options.write_link_rate * 1e6));
}

}  // namespace

DeviceFit fit_device(const std::vector<ProbePoint>& measured, uint64_t seed) {
  LATTE_CHECK(measured.size() == kPointsOfKind || measured.size() == 2 * kPointsOfKind);
  DeviceFit fit;
  fit.options.name = "fitted";
  fit.options.free_bytes_at_start = uint64_t{1} << 40;
  fit_reads(measured, fit.options, seed);
  if (measured.size() == 2 * kPointsOfKind) fit_writes(measured, fit.options);
  for (const ProbePoint& point : measured) {
    fit.modelled.push_back(model_point(fit.options, point, seed));
    const double error = error_of(fit.modelled.back(), point);
    fit.mean_error += error / static_cast<double>(measured.size());
    fit.worst_error = std::max(fit.worst_error, error);
  }
  return fit;
}

void report_fit(const std::vector<ProbePoint>& measured, const DeviceFit& fit, std::FILE* out) {
  fmt::print(out, "{:<28} {:>10} {:>10} {:>7} {:>9} {:>9} {:>9} {:>9}\n", "", "IOPS", "model",
             "error", "mean us", "model", "p99 us", "model");
  for (size_t i = 0; i < measured.size(); ++i) {
    const ProbePoint& point = measured[i];
    const ProbePoint& model = fit.modelled[i];
    fmt::print(
        out, "{:<28} {:>10.0f} {:>10.0f} {:>6.1f}% {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f}\n",
        fmt::format("{} {} {} KiB, depth {}", point.sequential ? "ordered" : "random",
                    point.is_read ? "reads" : "writes", point.length_bytes >> 10, point.depth),
        point.iops, model.iops, 100 * error_of(model, point), point.mean_us, model.mean_us,
        point.p99_us, model.p99_us);
  }
  const model::NvmeOptions& options = fit.options;
  fmt::print(
      out,
      "error of the IOPS: mean {:.1f} %, worst {:.1f} %\n"
      "controller {} ns a command, {} dies, sensing {} ns, read overhead {} ns, write overhead "
      "{} ns, program {} ns, links {:.2f} / {:.2f} GB/s\n",
      100 * fit.mean_error, 100 * fit.worst_error, options.command_ns, options.dies,
      options.read_middle_ns, options.read_overhead_ns, options.write_overhead_ns,
      options.program_ns, options.read_link_rate / 1e9, options.write_link_rate / 1e9);
}

}  // namespace latte::study
