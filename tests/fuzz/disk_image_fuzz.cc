// Fuzzes everything the engine reads from disks at once: superblocks, segment headers, records,
// tables, footers and data of a pool and two cloud logs, damaged by patches (disk_image.h), then
// opened, checked, taken over, read, written, drained and opened again.
//
// What must hold: no crash, no hang, no memory out of proportion. A sector that can be read holds
// what some write put there, or zeroes - unless checksums were forged. A disk none of whose bytes
// were touched is served with all its data.
//
// Input: a byte of what to do, then patches.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "../sim/pattern.h"
#include "base/buffer.h"
#include "base/check.h"
#include "disk/hybrid_disk.h"
#include "disk_image.h"
#include "sim/sim_world.h"

// The image has 2 MiB in all.
extern "C" const char* __asan_default_options() { return "max_allocation_size_mb=256"; }

namespace latte::fuzz {
namespace {

constexpr TimeNs kTimeLimitNs = 600 * kSecond;
constexpr uint64_t kStepLimit = 4'000'000;
constexpr unsigned kWrites = 12;

enum Mode : uint8_t {
  kCheck = 1,
  kTakeOver = 2,
  kWrite = 4,
  kDrain = 8,
  kPowerLost = 16,  // since the image was made
  kAgain = 32,      // stop, open and read again
  kKill = 64,       // ... without the stop
};

class Session {
 public:
  Session(uint8_t mode, const DiskImage& image, const Snapshot& snapshot, Patched patched)
      : mode_(mode),
        image_(image),
        patched_(patched),
        pool_(snapshot.regions[0].size()),
        fresh_pool_(kPoolBytes) {
    std::memcpy(pool_.data(), snapshot.regions[0].data(), snapshot.regions[0].size());
    for (size_t d = 0; d < kDisks; ++d) {
      const auto& log = snapshot.regions[static_cast<size_t>(Region::log_0) + d];
      const auto& super = snapshot.regions[static_cast<size_t>(Region::super_0) + d];
      clouds_[d] = std::make_unique<MemoryCloud>("cloud" + std::to_string(d), log.size());
      MemoryCloud& cloud = *clouds_[d];
      std::memcpy(cloud.log().data(), log.data(), log.size());
      std::memcpy(cloud.base().data(), snapshot.bases[d].data(), snapshot.bases[d].size());
      cloud.super.there = true;
      cloud.super.generation = snapshot.generations[d];
      std::copy(super.begin(), super.end(), cloud.super.bytes.begin());
      latest_[d].resize(kDiskSectors, kAny);
    }
    next_write_ = image.next_write;
  }

  void run() {
    world_.set_step_limit(kStepLimit);
    run_process(&Session::first_life);
    if ((mode_ & (kAgain | kKill)) != 0) run_process(&Session::second_life);
  }

 private:
  static constexpr uint64_t kAny = UINT64_MAX;         // not written in this session
  static constexpr uint64_t kUnsure = UINT64_MAX - 1;  // a write failed: the old or the new

  void run_process(Task<void> (Session::*life)()) {
    sim::SimReactor reactor(world_, "fuzz", 0);
    reactor.set_boot_id((mode_ & kPowerLost) != 0 ? 2 : 1);
    reactor_ = &reactor;
    done_ = false;
    Task<void> task = (this->*life)();
    reactor.spawn(std::move(task));
    const auto stop = world_.run_until([this] { return done_; }, world_.now() + kTimeLimitNs);
    if (stop != sim::World::Stop::condition) {
      // 1: it waits for ever, 2: it takes too many steps, 3: it turns round at one instant.
      std::fprintf(stderr, "no end, kind %d, after: %s\n", static_cast<int>(stop), doing_);
      std::abort();
    }
    reactor.destroy_tasks();
    host_.reset();
  }

  bool pool_intact() const { return !patched_.regions[0]; }
  bool intact(size_t d) const {
    return (pool_intact() || (mode_ & kTakeOver) != 0) &&
           !patched_.regions[static_cast<size_t>(Region::log_0) + d] &&
           !patched_.regions[static_cast<size_t>(Region::super_0) + d];
  }

  Task<void> first_life() {
    BlockDevice* pool = &pool_;
    if ((mode_ & kCheck) != 0) co_await check();
    if ((mode_ & kTakeOver) != 0) {
      PoolOptions options;
      options.segment_bytes = kSegmentBytes;
      const auto made = co_await Host::format_pool(*reactor_, fresh_pool_, options);
      LATTE_CHECK(made.ok());
      pool = &fresh_pool_;
    }
    co_await serve(pool, (mode_ & kTakeOver) != 0);
    if ((mode_ & kWrite) != 0) co_await write_some();
    for (size_t d = 0; d < kDisks && (mode_ & kDrain) != 0; ++d) {
      if (disks_[d] == nullptr) continue;
      doing_ = "drain";
      const auto drained = co_await host_->drain(disk_options(d).name, nullptr);
      LATTE_CHECK(drained.ok() || !drained.error().message.empty());
      LATTE_CHECK(drained.ok() || !intact(d));
    }
    for (size_t d = 0; d < kDisks; ++d) co_await read_all(d);
    if ((mode_ & kKill) == 0) co_await stop();
    done_ = true;
  }

  Task<void> second_life() {
    BlockDevice* pool = (mode_ & kTakeOver) != 0 ? &fresh_pool_ : &pool_;
    co_await serve(pool, false);
    co_await stop();
    done_ = true;
  }

  Task<void> stop() {
    doing_ = "stop";
    const auto stopped = co_await host_->stop();
    LATTE_CHECK(stopped.ok() || !stopped.error().message.empty());
    LATTE_CHECK(stopped.ok() || !intact(0) || !intact(1));
  }

  Task<void> check() {
    Host host(*reactor_, pool_);
    std::vector<Host::CheckedDisk> items;
    for (size_t d = 0; d < kDisks; ++d)
      items.push_back(Host::CheckedDisk{disk_options(d), clouds_[d].get()});
    Progress progress;
    doing_ = "check";
    const auto findings = co_await host.check(std::move(items), &progress);
    if (!findings) {
      LATTE_CHECK(!pool_intact() && !findings.error().message.empty());
    } else {
      for (const Finding& finding : findings.value()) {
        LATTE_CHECK(!finding.text.empty());
        LATTE_CHECK(!finding.damage || !pool_intact() || !intact(0) || !intact(1));
      }
    }
    const auto stopped = co_await host.stop();
    LATTE_CHECK(stopped.ok());
  }

  /// Opens the pool, attaches what can be attached and reads all of it.
  Task<void> serve(BlockDevice* pool, bool take_over) {
    disks_ = {};
    host_ = std::make_unique<Host>(*reactor_, *pool);
    doing_ = "open_pool";
    const auto opened = co_await host_->open_pool();
    if (!opened) {
      LATTE_CHECK(!pool_intact() && !opened.error().message.empty());
      co_return;
    }
    for (size_t d = 0; d < kDisks; ++d) {
      const DiskOptions options = disk_options(d);
      if (take_over) {
        std::string report;
        doing_ = "take_over";
        const auto taken = co_await host_->take_over(options, *clouds_[d], &report);
        LATTE_CHECK(taken.ok() || !taken.error().message.empty());
        LATTE_CHECK(taken.ok() || !intact(d));
      }
      doing_ = "attach";
      const auto attached = co_await host_->attach(options, *clouds_[d]);
      if (attached) {
        disks_[d] = attached.value();
      } else {
        LATTE_CHECK(!attached.error().message.empty() && !intact(d));
      }
      co_await read_all(d);
    }
    LATTE_CHECK(host_->stats().disks.size() <= kDisks);
  }

  /// Reads the disk whole, then what failed of it block by block.
  Task<void> read_all(size_t d) {
    if (disks_[d] == nullptr) co_return;
    doing_ = "read";
    Buffer data(kDiskBytes);
    constexpr uint64_t kPiece = kDiskBytes / 4;
    for (uint64_t at = 0; at < kDiskBytes; at += kPiece) {
      const IoStatus status = co_await disks_[d]->read(at, data.span().subspan(at, kPiece));
      if (status == IoStatus::ok) {
        judge(d, at, data.span().subspan(at, kPiece));
        continue;
      }
      LATTE_CHECK(!intact(d));
      for (uint64_t b = at; b < at + kPiece; b += kBlockBytes) {
        const auto block = data.span().subspan(b, kBlockBytes);
        const IoStatus one = co_await disks_[d]->read(b, block);
        if (one == IoStatus::ok) judge(d, b, block);
      }
    }
  }

  void judge(size_t d, uint64_t offset, std::span<const std::byte> data) {
    if (patched_.forged) return;
    for (size_t at = 0; at < data.size(); at += kSectorBytes) {
      const uint64_t sector = (offset + at) / kSectorBytes;
      const auto stamp = simtest::identify(data.subspan(at, kSectorBytes));
      LATTE_CHECK(stamp.has_value());
      if (stamp->write != 0) LATTE_CHECK(stamp->disk == d && stamp->sector == sector);
      if (latest_[d][sector] == kUnsure) continue;
      if (latest_[d][sector] != kAny) {
        if (!patched_.reverted) LATTE_CHECK(stamp->write == latest_[d][sector]);
        continue;
      }
      const auto& history = image_.history[d][sector];
      if (intact(d) && (mode_ & kTakeOver) == 0) LATTE_CHECK(stamp->write == history.back());
      LATTE_CHECK(std::find(history.begin(), history.end(), stamp->write) != history.end());
    }
  }

  /// Goes on with the disks as clients would.
  Task<void> write_some() {
    doing_ = "write";
    Random random(mode_ + 1);
    for (unsigned i = 0; i < kWrites; ++i) {
      const size_t d = i % kDisks;
      if (disks_[d] == nullptr) continue;
      const uint64_t unit = i % 3 == 2 ? 1 : kBlockBytes / kSectorBytes;
      const uint64_t length = unit * random.between(1, 8);
      const uint64_t at = unit * random.below((kDiskSectors - length) / unit);
      Buffer data(length * kSectorBytes);
      const uint64_t id = next_write_++;
      simtest::fill_pattern(data.span(), static_cast<uint32_t>(d), id, at);
      const IoStatus status = co_await disks_[d]->write(at * kSectorBytes, data.span(), i % 4 == 3);
      LATTE_CHECK(status == IoStatus::ok || !intact(d));
      for (uint64_t s = at; s < at + length; ++s)
        latest_[d][s] = status == IoStatus::ok ? id : kUnsure;
    }
    for (size_t d = 0; d < kDisks; ++d) {
      if (disks_[d] == nullptr) continue;
      const IoStatus status = co_await disks_[d]->flush();
      LATTE_CHECK(status == IoStatus::ok || !intact(d));
      if (status != IoStatus::ok) latest_[d].assign(kDiskSectors, kUnsure);
    }
  }

  const uint8_t mode_;
  const DiskImage& image_;
  const Patched patched_;
  sim::World world_{1};
  sim::SimReactor* reactor_ = nullptr;
  MemoryDevice pool_;
  MemoryDevice fresh_pool_;
  std::array<std::unique_ptr<MemoryCloud>, kDisks> clouds_;
  std::unique_ptr<Host> host_;
  std::array<HybridDisk*, kDisks> disks_{};
  std::array<std::vector<uint64_t>, kDisks> latest_;  // written here, by sector
  uint64_t next_write_ = 1;
  const char* doing_ = "";
  bool done_ = false;
};

}  // namespace
}  // namespace latte::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace latte::fuzz;
  static const bool quiet = [] {
    spdlog::set_level(spdlog::level::off);
    return true;
  }();
  (void)quiet;
  const DiskImage& image = disk_image();
  Input input(std::span(data, size));
  const uint8_t mode = input.byte();
  Snapshot snapshot = image.whole;
  const Patched patched = apply_patches(input, image, snapshot);
  Session(mode, image, snapshot, patched).run();
  return 0;
}
