// Local volumes against a model, over many seeds: clients write, discard, zero, read and flush
// while volumes are made, removed and resized, and the process or the power goes at any moment.
// After each reopening every sector holds something it may hold: flushed data is there, what was
// not flushed is old or new, what was never written is zero, and nothing is another volume's.
//
// LATTE_SEEDS=n runs n seeds, LATTE_SEED=s that one only.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "disk/volume_space.h"
#include "disk_test_support.h"

namespace latte {
namespace {

constexpr uint64_t kAreaOffset = 1u << 20;
constexpr uint64_t kAreaBytes = 5u << 20;
// In some runs most of the table's first block belongs to a volume that nobody touches, so that the
// others have parts in two blocks.
constexpr uint64_t kFillerBytes = 470ull * (64u << 10);
constexpr uint32_t kExtentBytes = 64u << 10;
constexpr int kSessions = 6;
constexpr int kClients = 3;  // for each volume
constexpr uint64_t kWord = sizeof(uint64_t);

/// What a sector may hold: numbers of writes, 0 for zeroes. `live` after the death of the process,
/// `durable` after a loss of power.
struct Sector {
  std::set<uint64_t> live{0};
  std::set<uint64_t> durable{0};
  uint32_t under_way = 0;
  bool mixed = false;  // more than one operation since it was last idle
  uint64_t last_event = 0;
};

struct Volume {
  std::string name;
  bool thin = false;
  bool certain = true;       // it exists for sure
  std::set<uint64_t> sizes;  // that it may have; the last one asked for that was answered is size
  uint64_t size = 0;
  std::vector<Sector> sectors;
  LocalVolume* device = nullptr;
  bool paused = false;
  int under_way = 0;

  void resize(uint64_t bytes) {
    size = bytes;
    sectors.resize(bytes / kSectorBytes);
  }
};

class CrashRun {
 public:
  explicit CrashRun(uint64_t seed)
      : world_(seed), random_(seed * 77 + 1), drive_(world_, options()) {
    faulty_ = random_.chance(1, 3);
    filled_ = random_.chance(1, 3);
    boot();
    VolumeSpace::FormatOptions format;
    format.extent_bytes = kExtentBytes;
    format.zeroed = random_.chance(1, 2);
    EXPECT_TRUE(
        test::run(world_, *reactor_, VolumeSpace::format(*reactor_, drive_, area(), format)).ok());
    if (!filled_) return;
    auto space =
        test::run(world_, *reactor_,
                  VolumeSpace::open(*reactor_, drive_, area(), VolumeSpace::Access::read_write));
    VolumeOptions filler{"filler", kFillerBytes, false};
    EXPECT_TRUE(test::run(world_, *reactor_, space.value()->create(std::move(filler))).ok());
    EXPECT_TRUE(test::run(world_, *reactor_, space.value()->stop()).ok());
  }
  ~CrashRun() { kill(false); }

  void go() {
    for (int session = 0; session < kSessions && !testing::Test::HasFailure(); ++session) {
      open();
      if (testing::Test::HasFailure()) return;
      if (faulty_) set_faults(2000);
      stopping_ = false;
      done_ = false;
      reactor_->spawn(control());
      const bool clean = random_.chance(1, 5);
      const uint64_t steps = random_.between(1, random_.chance(1, 4) ? 300 : 6000);
      (void)world_.run_steps(steps, [&] { return false; });
      set_faults(0);
      if (clean) end_cleanly();
      kill(!clean && random_.chance(1, 2));
      boot();
    }
    open();
  }

 private:
  VolumeArea area() const { return {kAreaOffset, kAreaBytes + (filled_ ? kFillerBytes : 0)}; }
  static sim::DriveOptions options() {
    sim::DriveOptions drive;
    drive.size_bytes = kAreaOffset + kAreaBytes + kFillerBytes;
    return drive;
  }
  void set_faults(uint32_t per_million) {
    drive_.faults().read_error = per_million;
    drive_.faults().write_error = per_million;
    drive_.faults().flush_error = per_million;
    // Stragglers: an extent is given back, and a request to it is still under way.
    drive_.faults().hang = per_million > 0 ? 20'000 : 0;
    drive_.faults().hang_ns = 30 * kMillisecond;
  }
  void boot() {
    reactor_ = std::make_unique<sim::SimReactor>(world_, "host", 0);
    drive_.connect(*reactor_);
  }
  void kill(bool power) {
    if (power)
      drive_.power_loss();
    else
      drive_.process_death();
    reactor_->destroy_tasks();
    space_.reset();
    reactor_.reset();
    lost_power_ = power;
    for (auto& [name, volume] : volumes_) {
      volume.device = nullptr;
      volume.paused = false;
      volume.under_way = 0;
    }
  }
  void end_cleanly() {
    stopping_ = true;
    const auto stop =
        world_.run_until([&] { return done_ && busy() == 0; }, world_.now() + test::kPatienceNs);
    ASSERT_EQ(stop, sim::World::Stop::condition);
    const auto stopped = test::run(world_, *reactor_, space_->stop());
    EXPECT_TRUE(stopped.ok());
  }
  int busy() const {
    int all = 0;
    for (const auto& [name, volume] : volumes_) all += volume.under_way;
    return all;
  }

  /// Opens the area and compares everything with the model.
  void open() {
    auto opened =
        test::run(world_, *reactor_,
                  VolumeSpace::open(*reactor_, drive_, area(), VolumeSpace::Access::read_write));
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    space_ = opened.take();
    for (const Finding& finding : space_->findings()) EXPECT_FALSE(finding.damage) << finding.text;
    uint64_t allocated = 0;
    std::set<std::string> there;
    for (const VolumeFacts& facts : space_->list()) {
      allocated += facts.allocated_bytes;
      if (facts.name == "filler") continue;
      there.insert(facts.name);
      ASSERT_TRUE(volumes_.contains(facts.name)) << facts.name << " came from nowhere";
      Volume& volume = volumes_[facts.name];
      EXPECT_EQ(facts.thin, volume.thin);
      EXPECT_TRUE(volume.sizes.contains(facts.size_bytes)) << facts.name << facts.size_bytes;
      volume.certain = true;
      volume.resize(facts.size_bytes);
      volume.sizes = {facts.size_bytes};
      auto attached = space_->attach(facts.name);
      ASSERT_TRUE(attached.ok());
      volume.device = attached.value();
      compare(volume);
    }
    EXPECT_EQ(allocated + space_->free_bytes(), space_->size_bytes());
    for (auto at = volumes_.begin(); at != volumes_.end();) {
      const bool gone = !there.contains(at->first);
      EXPECT_FALSE(gone && at->second.certain) << at->first << " is gone";
      at = gone ? volumes_.erase(at) : std::next(at);
    }
    // Removing needs volumes that nobody serves: open again, and serve what is left then.
    if (volumes_.empty() || random_.chance(1, 2)) return;
    space_.reset();
    opened =
        test::run(world_, *reactor_,
                  VolumeSpace::open(*reactor_, drive_, area(), VolumeSpace::Access::read_write));
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    space_ = opened.take();
    for (auto& [name, volume] : volumes_) volume.device = nullptr;
  }

  void compare(Volume& volume) {
    std::vector<std::byte> data(volume.size);
    for (uint64_t at = 0; at < volume.size;) {
      const uint64_t length =
          std::min(volume.size - at, random_.between(1, 500) * uint64_t{kSectorBytes});
      EXPECT_EQ(test::run(world_, *reactor_,
                          test::io(volume.device, IoOp::read, at,
                                   std::span(data).subspan(at, length), length, false)),
                IoStatus::ok);
      at += length;
    }
    for (size_t i = 0; i < volume.sectors.size(); ++i) {
      Sector& sector = volume.sectors[i];
      const auto number = decode(std::span(data).subspan(i * kSectorBytes, kSectorBytes));
      ASSERT_TRUE(number.has_value()) << volume.name << " sector " << i << " is torn";
      const std::set<uint64_t>& allowed = lost_power_ ? sector.durable : sector.live;
      ASSERT_TRUE(allowed.contains(*number))
          << volume.name << " sector " << i << " holds " << *number << ", newest allowed "
          << *allowed.rbegin() << (lost_power_ ? " (power)" : " (process)");
      sector.live = {*number};
      if (lost_power_) sector.durable.clear();
      sector.durable.insert(*number);
      sector.under_way = 0;
      sector.mixed = false;
    }
  }
  static std::optional<uint64_t> decode(std::span<const std::byte> data) {
    uint64_t first = 0;
    std::memcpy(&first, data.data(), kWord);
    for (size_t at = 0; at < data.size(); at += kWord)
      if (std::memcmp(data.data() + at, &first, kWord) != 0) return std::nullopt;
    return first;
  }

  /// Makes, removes and resizes volumes, and starts clients on those that are served.
  Task<void> control() {
    for (auto at = volumes_.begin(); at != volumes_.end();) {
      Volume& volume = at->second;
      if (volume.device == nullptr && random_.chance(1, 3)) {
        volume.certain = false;
        const std::string name = at->first;
        const Result<void> removed = co_await space_->remove(name);
        if (removed) {
          at = volumes_.erase(at);
          continue;
        }
        EXPECT_TRUE(faulty_) << removed.error().message;
      }
      ++at;
    }
    while (volumes_.size() < 3) {
      const bool made = co_await make_volume();
      if (!made) break;
    }
    for (auto& [name, volume] : volumes_) {
      if (!space_->has(name)) continue;
      const auto attached = space_->attach(name);
      EXPECT_TRUE(attached.ok());
      volume.device = attached.value();
      for (int i = 0; i < kClients; ++i) reactor_->spawn(client(&volume));
    }
    while (!stopping_) {
      co_await reactor_->sleep(static_cast<TimeNs>(random_.below(20)) * kMillisecond);
      if (volumes_.empty()) break;
      auto at = volumes_.begin();
      std::advance(at, random_.below(volumes_.size()));
      if (at->second.device != nullptr) co_await resize(&at->second);
    }
    done_ = true;
  }

  Task<bool> make_volume() {
    VolumeOptions options;
    options.name = "v" + std::to_string(next_name_++);
    options.thin = random_.chance(2, 3);
    options.size_bytes = random_.between(1, options.thin ? 700 : 400) * kBlockBytes;
    // A model of it before the device can have it.
    Volume& volume = volumes_[options.name];
    volume.name = options.name;
    volume.thin = options.thin;
    volume.certain = false;
    volume.sizes = {options.size_bytes};
    volume.resize(options.size_bytes);
    const Result<void> made = co_await space_->create(options);
    volume.certain = made.ok();
    if (!made) {
      EXPECT_TRUE(faulty_ || made.error().code == Errc::no_space) << made.error().message;
      if (made.error().code == Errc::no_space) volumes_.erase(options.name);
    }
    co_return made.ok();
  }

  Task<void> resize(Volume* volume) {
    const uint64_t size = random_.between(1, volume->thin ? 700 : 400) * kBlockBytes;
    const bool smaller = size < volume->size;
    volume->sizes.insert(size);
    if (smaller) {
      volume->paused = true;
      while (volume->under_way > 0) co_await reactor_->sleep(kMillisecond);
    }
    const Result<void> done = co_await space_->resize(volume->name, size, smaller);
    if (done) {
      volume->resize(size);
      EXPECT_EQ(volume->device->info().size_bytes, size);
    } else {
      EXPECT_TRUE(faulty_ || done.error().code == Errc::no_space) << done.error().message;
      // It may have become smaller before it failed.
      volume->resize(volume->device->info().size_bytes);
    }
    if (done && !faulty_) volume->sizes = {size};
    volume->paused = false;
  }

  Task<void> client(Volume* volume) {
    while (!stopping_) {
      if (random_.chance(1, 8))
        co_await reactor_->sleep(static_cast<TimeNs>(random_.below(3)) * kMillisecond);
      if (stopping_) break;
      if (volume->paused) {
        co_await reactor_->sleep(kMillisecond);
        continue;
      }
      ++volume->under_way;
      const uint64_t kind = random_.below(16);
      if (kind < 8)
        co_await change(volume, IoOp::write);
      else if (kind < 10)
        co_await change(volume, IoOp::discard);
      else if (kind < 11)
        co_await change(volume, IoOp::write_zeroes);
      else if (kind < 14)
        co_await look(volume);
      else
        co_await flush(volume);
      --volume->under_way;
    }
  }

  /// A range of sectors: [first, end).
  std::pair<size_t, size_t> range(const Volume& volume, bool wide) {
    const size_t all = volume.sectors.size();
    const size_t first = random_.below(all);
    const uint64_t most = wide && random_.chance(1, 2) ? 1200 : random_.chance(1, 3) ? 200 : 16;
    return {first, std::min<size_t>(all, first + random_.between(1, most))};
  }

  Task<void> change(Volume* volume, IoOp op) {
    const auto [first, end] = range(*volume, op != IoOp::write);
    const bool write = op == IoOp::write;
    const bool fua = random_.chance(1, 6);
    const uint64_t number = write ? ++next_number_ : 0;
    const uint64_t length = (end - first) * kSectorBytes;
    std::vector<uint64_t> data(write ? length / kWord : 0, number);
    // In pieces, as a guest's memory is.
    std::vector<iovec> iov;
    auto* bytes = reinterpret_cast<std::byte*>(data.data());
    for (uint64_t at = 0; write && at < length;) {
      const uint64_t part = std::min(length - at, random_.between(1, 64) * uint64_t{kSectorBytes});
      iov.push_back({bytes + at, part});
      at += part;
    }
    for (size_t i = first; i < end; ++i) {
      Sector& sector = volume->sectors[i];
      sector.live.insert(number);
      sector.durable.insert(number);
      sector.mixed |= sector.under_way > 0;
      ++sector.under_way;
      sector.last_event = ++event_;
    }
    IoRequest request;
    request.op = op;
    request.fua = fua;
    request.offset = first * kSectorBytes;
    request.length = length;
    request.iov = iov.data();
    request.iov_count = static_cast<uint32_t>(iov.size());
    const IoStatus status = co_await volume->device->io(request);
    EXPECT_TRUE(status == IoStatus::ok || faulty_ ||
                (status == IoStatus::no_space && volume->thin && write))
        << to_string(status);
    for (size_t i = first; i < std::min(end, volume->sectors.size()); ++i) {
      Sector& sector = volume->sectors[i];
      sector.last_event = ++event_;
      if (status == IoStatus::ok && !sector.mixed) {
        sector.live = {number};
        if (fua) sector.durable = {number};
      } else {
        // Wherever it got stuck, it may still show.
        sector.durable.insert(sector.live.begin(), sector.live.end());
      }
      if (--sector.under_way == 0) sector.mixed = false;
    }
  }

  Task<void> look(Volume* volume) {
    const auto [first, end] = range(*volume, true);
    std::vector<std::byte> data((end - first) * kSectorBytes);
    std::vector<std::set<uint64_t>> allowed;
    for (size_t i = first; i < end; ++i) allowed.push_back(volume->sectors[i].live);
    const uint64_t begun = event_;
    const IoStatus status = co_await test::io(volume->device, IoOp::read, first * kSectorBytes,
                                              data, data.size(), false);
    if (status != IoStatus::ok) {
      EXPECT_TRUE(faulty_) << to_string(status);
      co_return;
    }
    for (size_t i = first; i < std::min(end, volume->sectors.size()); ++i) {
      const auto number = decode(std::span(data).subspan((i - first) * kSectorBytes, kSectorBytes));
      // What happens meanwhile may show, torn between two writes, too.
      const Sector& sector = volume->sectors[i];
      if (sector.under_way > 0 || sector.last_event > begun) continue;
      EXPECT_TRUE(number && allowed[i - first].contains(*number))
          << volume->name << " sector " << i << " reads " << number.value_or(UINT64_MAX);
    }
  }

  Task<void> flush(Volume* volume) {
    const uint64_t at = ++event_;
    const IoStatus status = co_await test::io(volume->device, IoOp::flush, 0, {}, 0, false);
    if (status != IoStatus::ok) {
      EXPECT_TRUE(faulty_) << to_string(status);
      co_return;
    }
    for (Sector& sector : volume->sectors)
      if (sector.under_way == 0 && sector.last_event < at) sector.durable = sector.live;
  }

  sim::World world_;
  Random random_;
  sim::SimDrive drive_;
  std::unique_ptr<sim::SimReactor> reactor_;
  std::unique_ptr<VolumeSpace> space_;
  std::map<std::string, Volume> volumes_;
  bool faulty_ = false;
  bool filled_ = false;
  bool lost_power_ = false;
  bool stopping_ = false;
  bool done_ = false;
  int next_name_ = 0;
  uint64_t next_number_ = 0;
  uint64_t event_ = 0;
};

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(VolumeModel, CrashesAtAnyMomentLoseNothingAndMixNothing) {
  const uint64_t one = from_environment("LATTE_SEED", 0);
  const uint64_t seeds = from_environment("LATTE_SEEDS", 200);
  for (uint64_t seed = one == 0 ? 1 : one; seed <= (one == 0 ? seeds : one); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    CrashRun run(seed);
    run.go();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace latte
