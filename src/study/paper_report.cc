#include "study/paper_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/cloud_model.h"
#include "model/depth_driver.h"
#include "model/nvme_model.h"
#include "model/stack_model.h"
#include "study/hybrid_model.h"

namespace latte::study {
namespace {

constexpr uint32_t kSmallBytes = 4u << 10;
constexpr uint32_t kLargeBytes = 128u << 10;
constexpr uint32_t kFullDepth = 256;
constexpr uint32_t kDepths[] = {1, 2, 4, 8, 16, 32, 64, 128};
constexpr double kHitShare = 0.75;

struct Generation {
  model::StackOptions stack;
  // The paper's figures.
  double iops_one;
  double iops_eight;
  double rate_one;
  double rate_eight;
};

const Generation kGenerations[] = {
    {model::stack_espresso(), 572e3, 4'608e3, 6.5e9, 51.5e9},
    {model::stack_doppio(), 661e3, 5'281e3, 4.1e9, 31.2e9},
    {model::stack_ristretto(), 949e3, 7'385e3, 6.7e9, 53.4e9},
};

model::NvmeOptions fresh_drive() {
  model::NvmeOptions options = model::nvme_gen4();
  options.free_bytes_at_start = uint64_t{1} << 40;
  return options;
}

/// LATTE's back end: a standard volume with the bandwidth that the paper's 75 % figure implies.
model::CloudOptions back_end() {
  model::CloudOptions cloud = model::cloud_ebs();
  cloud.bytes_per_second = 2.4e9;
  return cloud;
}

/// Disks of one host, requests to them in turn.
class DiskRow final : public model::TimedDevice {
 public:
  DiskRow(const model::StackOptions& stack, uint32_t disks, const model::NvmeOptions& drive,
          uint64_t seed)
      : share_(stack) {
    for (uint32_t i = 0; i < disks; ++i) {
      drives_.push_back(std::make_unique<model::NvmeModel>(drive, seed + i));
      stacks_.push_back(std::make_unique<model::StackModel>(stack, *drives_.back(), share_));
    }
  }
  TimeNs submit(const model::ModelIo& io) override {
    return stacks_[next_++ % stacks_.size()]->submit(io);
  }
  model::DeviceModel& disk() { return *stacks_.front(); }

 private:
  model::StackShare share_;
  std::vector<std::unique_ptr<model::NvmeModel>> drives_;
  std::vector<std::unique_ptr<model::StackModel>> stacks_;
  uint64_t next_ = 0;
};

struct GenerationRow {
  std::string name;
  uint32_t disks = 0;
  double iops_paper = 0;
  double iops = 0;
  double rate_paper = 0;  ///< bytes a second
  double rate = 0;
};

std::vector<GenerationRow> measure_generations(const PaperPlan& plan) {
  std::vector<GenerationRow> rows;
  for (const Generation& generation : kGenerations)
    for (const uint32_t disks : {1u, 8u}) {
      GenerationRow row{generation.stack.name,
                        disks,
                        disks == 1 ? generation.iops_one : generation.iops_eight,
                        0,
                        disks == 1 ? generation.rate_one : generation.rate_eight,
                        0};
      model::DepthLoad load;
      load.depth = kFullDepth * disks;
      load.length_bytes = kSmallBytes;
      load.requests = plan.requests * disks;
      load.warm_up = load.depth;
      DiskRow small(generation.stack, disks, fresh_drive(), plan.seed);
      row.iops = drive_at_depth(small, load).iops;
      load.length_bytes = kLargeBytes;
      load.sequential = true;
      load.requests /= 8;
      DiskRow large(generation.stack, disks, fresh_drive(), plan.seed);
      row.rate = drive_at_depth(large, load).bytes_per_second;
      rows.push_back(row);
    }
  return rows;
}

struct LatencyPoint {
  uint32_t depth = 0;
  double mean_us = 0;
  double p999_us = 0;
};
struct LatencyRow {
  std::string name;
  bool reads = false;
  std::vector<LatencyPoint> points;
};

/// Mean and p99.9 of one kind at the depths.
template <typename MakeDevice>
LatencyRow measure_latency(const PaperPlan& plan, const char* name, bool reads,
                           MakeDevice make_device) {
  LatencyRow row{name, reads, {}};
  for (const uint32_t depth : kDepths) {
    model::DepthLoad load;
    load.depth = depth;
    load.length_bytes = kSmallBytes;
    load.read_share = reads ? 1 : 0;
    load.requests = plan.requests;
    load.warm_up = plan.requests / 2;
    auto device = make_device();
    const model::DepthResult result = drive_at_depth(device->top(), load);
    const Histogram& of = reads ? result.reads : result.writes;
    row.points.push_back({depth,
                          static_cast<double>(of.sum_ns()) / static_cast<double>(of.count()) / 1e3,
                          static_cast<double>(of.quantile_ns(0.999)) / 1e3});
  }
  return row;
}

struct LocalDevice {
  DiskRow row;
  LocalDevice(const model::StackOptions& stack, uint64_t seed)
      : row(stack, 1, model::nvme_gen4(), seed) {}
  model::TimedDevice& top() { return row; }
};

struct CloudDevice {
  model::CloudModel cloud;
  CloudDevice(const model::CloudOptions& options, uint64_t seed) : cloud(options, seed) {}
  model::TimedDevice& top() { return cloud; }
};

struct LatteDevice {
  DiskRow row;
  model::CloudModel cloud;
  HybridModel hybrid;
  LatteDevice(const model::NvmeOptions& drive, double hit_share, uint64_t seed)
      : row(model::stack_ristretto(), 1, drive, seed),
        cloud(back_end(), seed + 1),
        hybrid(row.disk(), cloud, hit_share, seed + 2) {}
  model::TimedDevice& top() { return hybrid; }
};

std::vector<LatencyRow> measure_latencies(const PaperPlan& plan) {
  std::vector<LatencyRow> rows;
  for (const bool reads : {true, false}) {
    for (const Generation& generation : kGenerations)
      rows.push_back(measure_latency(plan, generation.stack.name, reads, [&] {
        return std::make_unique<LocalDevice>(generation.stack, plan.seed);
      }));
    rows.push_back(measure_latency(plan, "EBS", reads, [&] {
      return std::make_unique<CloudDevice>(model::cloud_ebs(), plan.seed);
    }));
    rows.push_back(measure_latency(plan, "EBSX", reads, [&] {
      return std::make_unique<CloudDevice>(model::cloud_ebsx(), plan.seed);
    }));
    rows.push_back(measure_latency(plan, "LATTE", reads, [&] {
      return std::make_unique<LatteDevice>(model::nvme_gen4(), kHitShare, plan.seed);
    }));
  }
  return rows;
}

struct TierRow {
  double hits = 0;
  double rate = 0;  ///< bytes a second
  double most = 0;  ///< to be had
};

std::vector<TierRow> measure_both_tiers(const PaperPlan& plan) {
  const double local = 6.7e9;
  const double cloud = back_end().bytes_per_second;
  std::vector<TierRow> rows;
  for (const double hits : {0.0, 0.25, 0.5, 0.75, 0.9, 1.0}) {
    model::DepthLoad load;
    load.depth = kFullDepth;
    load.length_bytes = kLargeBytes;
    load.requests = plan.requests / 4;
    load.warm_up = plan.requests / 8;
    LatteDevice latte(fresh_drive(), hits, plan.seed);
    // The cloud carries all misses; what it has left takes hits.
    const double most = hits < 1 ? std::min(local + cloud, cloud / (1 - hits)) : local + cloud;
    rows.push_back({hits, drive_at_depth(latte.top(), load).bytes_per_second, most});
  }
  return rows;
}

struct CostRow {
  std::string name;
  std::string paper;
  double ours = 0;  ///< 0: not computed
};

std::vector<CostRow> reckon_cost() {
  // Capacity of the cloud volume from the paper's cheapest, IOPS from its dearest: 2.1 is a local
  // disk and the volume with no IOPS provisioned, 13 the same with all of them.
  constexpr double kLocal = 1;
  constexpr double kCapacity = 1.1;
  constexpr double kAllIops = 10.9;
  std::vector<CostRow> rows{{"RISTRETTO", "1", kLocal},
                            {"EBSX", "19", 0},
                            {"LATTE Max", "13", kLocal + kCapacity + kAllIops}};
  for (const double share : {0.02, 0.05, 0.10, 0.17})
    rows.push_back({fmt::format("LATTE Auto, {:.0f} % of IOPS", share * 100), "2.1-4.0",
                    kLocal + kCapacity + kAllIops * share});
  return rows;
}

struct PaperFigures {
  std::vector<GenerationRow> generations;
  std::vector<LatencyRow> latencies;
  std::vector<TierRow> tiers;
  std::vector<CostRow> costs;
};

PaperFigures measure_all(const PaperPlan& plan) {
  return {measure_generations(plan), measure_latencies(plan), measure_both_tiers(plan),
          reckon_cost()};
}

void print_generations(const std::vector<GenerationRow>& rows, std::FILE* out) {
  fmt::print(out,
             "Reads of three generations (K IOPS of 4 KiB random; GB/s of 128 KiB in order)\n");
  fmt::print(out, "{:<10} {:>5} {:>10} {:>8} {:>10} {:>8}\n", "", "disks", "IOPS paper", "ours",
             "GB/s paper", "ours");
  for (const GenerationRow& row : rows)
    fmt::print(out, "{:<10} {:>5} {:>10.0f} {:>8.0f} {:>10.1f} {:>8.1f}\n", row.name, row.disks,
               row.iops_paper / 1e3, row.iops / 1e3, row.rate_paper / 1e9, row.rate / 1e9);
}

void print_latencies(const std::vector<LatencyRow>& rows, std::FILE* out) {
  fmt::print(out, "\nLatency of 4 KiB random I/O, us, mean/p99.9 at queue depth\n{:<16}", "");
  for (const uint32_t depth : kDepths) fmt::print(out, " {:>10}", depth);
  fmt::print(out, "\n");
  for (const LatencyRow& row : rows) {
    fmt::print(out, "{:<10} {:<5}", row.name, row.reads ? "read" : "write");
    for (const LatencyPoint& point : row.points)
      fmt::print(out, " {:>10}", fmt::format("{:.0f}/{:.0f}", point.mean_us, point.p999_us));
    fmt::print(out, "\n");
  }
  fmt::print(out,
             "paper: drive 75 us, RISTRETTO 77 us and EBSX about 30 us at depth 1; writes of local "
             "disks at depth 128: p99.9 over 1 ms\n");
}

void print_both_tiers(const std::vector<TierRow>& rows, std::FILE* out) {
  fmt::print(
      out,
      "\nReads from both tiers at once, 128 KiB random, depth 256, GB/s (paper: 8.9 at 75 %, "
      "less at 100 %)\n{:>6} {:>8} {:>13}\n",
      "hits", "ours", "to be had");
  for (const TierRow& row : rows)
    fmt::print(out, "{:>5.0f}% {:>8.2f} {:>13.2f}\n", row.hits * 100, row.rate / 1e9,
               row.most / 1e9);
}

void print_cost(const std::vector<CostRow>& rows, std::FILE* out) {
  fmt::print(out, "\nPrice of 4 TB, RISTRETTO = 1\n{:<28} {:>8} {:>6}\n", "", "paper", "ours");
  for (const CostRow& row : rows)
    fmt::print(out, "{:<28} {:>8} {:>6}\n", row.name, row.paper,
               row.ours == 0 ? "-" : fmt::format("{:.1f}", row.ours));
}

void print_assumptions(std::FILE* out) {
  fmt::print(
      out,
      "\nAssumptions\n"
      "  Drives, clouds and stacks: docs/internals/device-models.md. The stacks' caps are the "
      "paper's measured\n"
      "  IOPS and bandwidths, so that those come out again shows that the models hold them, no "
      "more.\n"
      "  IOPS, bandwidth and both tiers at once: drives that do not collect. Latency: drives in "
      "steady state.\n"
      "  LATTE: RISTRETTO and a standard volume (50 K IOPS, 2.4 GB/s), {:.0f} % read hits, all "
      "clean; the\n"
      "  dispatcher begins untrained at each point and learns from it. Shipping what was written "
      "to "
      "the cloud is\n"
      "  not in it.\n"
      "  Cost: the paper's own end points; between them the price follows the IOPS provisioned. "
      "No price of\n"
      "  today's is in it, and EBSX is the paper's.\n",
      kHitShare * 100);
}

nlohmann::ordered_json json_of(const PaperPlan& plan, const PaperFigures& figures) {
  using Json = nlohmann::ordered_json;
  Json all{{"seed", plan.seed}, {"requests", plan.requests}};
  for (const GenerationRow& row : figures.generations)
    all["generations"].push_back({{"name", row.name},
                                  {"disks", row.disks},
                                  {"iops_paper", row.iops_paper},
                                  {"iops", row.iops},
                                  {"bytes_per_second_paper", row.rate_paper},
                                  {"bytes_per_second", row.rate}});
  for (const LatencyRow& row : figures.latencies) {
    Json item{{"name", row.name}, {"kind", row.reads ? "read" : "write"}};
    for (const LatencyPoint& point : row.points)
      item["depths"].push_back(
          {{"depth", point.depth}, {"mean_us", point.mean_us}, {"p999_us", point.p999_us}});
    all["latencies"].push_back(std::move(item));
  }
  for (const TierRow& row : figures.tiers)
    all["both_tiers"].push_back(
        {{"hits", row.hits}, {"bytes_per_second", row.rate}, {"to_be_had", row.most}});
  for (const CostRow& row : figures.costs)
    all["cost"].push_back({{"name", row.name},
                           {"paper", row.paper},
                           {"ours", row.ours == 0 ? Json(nullptr) : Json(row.ours)}});
  return all;
}

}  // namespace

void report_paper(const PaperPlan& plan, bool json, std::FILE* out) {
  const PaperFigures figures = measure_all(plan);
  if (json) {
    fmt::print(out, "{}\n", json_of(plan, figures).dump());
    return;
  }
  print_generations(figures.generations, out);
  print_latencies(figures.latencies, out);
  print_both_tiers(figures.tiers, out);
  print_cost(figures.costs, out);
  print_assumptions(out);
}

}  // namespace latte::study
