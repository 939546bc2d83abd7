// WriteBuffer: what it acknowledges survives the process, what it flushed survives the power, and a
// memory that does not belong to the device is never used.
#include "device/write_buffer.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <map>

#include "device/shm_buffer_memory.h"
#include "disk_test_support.h"

namespace latte {
namespace {

using test::Bytes;
using test::filled;

constexpr uint64_t kDriveBytes = 1u << 20;
constexpr uint64_t kBufferBytes = 64u << 10;
constexpr uint64_t kDataOffset = 64u << 10;

class MapMemory final : public BufferMemory {
 public:
  Result<std::span<std::byte>> open(const Uuid& id) override {
    const auto found = buffers.find(id);
    if (found == buffers.end()) return Error{Errc::not_found, name(id) + " is gone"};
    return found->second.span();
  }
  Result<std::span<std::byte>> create(const Uuid& id, size_t bytes) override {
    if (full) return Error{Errc::no_space, "no memory"};
    Buffer& buffer = buffers[id] = Buffer(bytes);
    std::fill(buffer.span().begin(), buffer.span().end(), std::byte{0});
    return buffer.span();
  }
  void remove(const Uuid& id) override { buffers.erase(id); }
  std::string name(const Uuid& id) const override { return "memory " + id.to_string(); }

  std::map<Uuid, Buffer> buffers;
  bool full = false;
};

/// A machine with a drive; start() and kill() are a process's life on it.
class Rig {
 public:
  explicit Rig(uint64_t seed = 1) : world(seed) {
    sim::DriveOptions options;
    options.size_bytes = kDriveBytes;
    drive = std::make_unique<sim::SimDrive>(world, options);
  }
  ~Rig() {
    if (buffer) kill(false);
  }

  Result<void> start(uint64_t bytes = kBufferBytes,
                     WriteBuffer::Access access = WriteBuffer::Access::read_write) {
    reactor = std::make_unique<sim::SimReactor>(world, "host", 0);
    reactor->set_boot_id(boot);
    drive->connect(*reactor);
    buffer = std::make_unique<WriteBuffer>(*reactor, *drive, memory);
    const Result<void> recovered = test::run(world, *reactor, buffer->recover(access));
    if (!recovered || access == WriteBuffer::Access::read_only) return recovered;
    return test::run(world, *reactor, buffer->begin(bytes));
  }
  void kill(bool power) {
    if (power) {
      ++boot;
      drive->power_loss();
      memory.buffers.clear();
    } else {
      drive->process_death();
    }
    reactor->destroy_tasks();
    buffer.reset();
    reactor.reset();
  }
  IoStatus write(uint64_t offset, Bytes data, bool fua = false) {
    return run(IoOp::write, offset, data, data.size(), fua);
  }
  Bytes read(uint64_t offset, size_t length) {
    Bytes data(length);
    EXPECT_EQ(run(IoOp::read, offset, data, length, false), IoStatus::ok);
    return data;
  }
  IoStatus flush() { return run(IoOp::flush, 0, {}, 0, false); }
  Result<void> close() { return test::run(world, *reactor, buffer->close()); }

  sim::World world;
  std::unique_ptr<sim::SimDrive> drive;
  MapMemory memory;
  std::unique_ptr<sim::SimReactor> reactor;
  std::unique_ptr<WriteBuffer> buffer;
  uint64_t boot = 1;

 private:
  IoStatus run(IoOp op, uint64_t offset, std::span<std::byte> data, uint64_t length, bool fua) {
    return test::run(world, *reactor, test::io(buffer.get(), op, offset, data, length, fua));
  }
};

TEST(WriteBuffer, AcknowledgesBeforeTheDeviceAndSurvivesTheProcess) {
  Rig rig;
  ASSERT_TRUE(rig.start());
  rig.drive->faults().hang = 1'000'000;  // nothing the device is asked for ends
  rig.drive->faults().hang_ns = sim::kNever;
  EXPECT_EQ(rig.write(kDataOffset, filled(8192, 7)), IoStatus::ok);
  EXPECT_EQ(rig.read(kDataOffset, 8192), filled(8192, 7));
  EXPECT_EQ(rig.read(kDataOffset + 512, 1024), filled(1024, 7));
  EXPECT_GT(rig.buffer->used_bytes(), 0u);
  rig.kill(false);
  rig.drive->faults() = {};
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.buffer->used_bytes(), 0u);
  EXPECT_EQ(rig.read(kDataOffset, 8192), filled(8192, 7));
}

TEST(WriteBuffer, FlushedSurvivesThePowerAndTheMemoryIsNotMissed) {
  Rig rig;
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.write(kDataOffset, filled(4096, 1)), IoStatus::ok);
  EXPECT_EQ(rig.flush(), IoStatus::ok);
  rig.kill(true);
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.read(kDataOffset, 4096), filled(4096, 1));
}

TEST(WriteBuffer, AReadOverSeveralWritesAndTheDeviceSeesAll) {
  Rig rig;
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.write(kDataOffset, filled(12288, 1)), IoStatus::ok);
  EXPECT_EQ(rig.flush(), IoStatus::ok);
  rig.drive->faults().write_error = 1'000'000;
  EXPECT_EQ(rig.write(kDataOffset + 1024, filled(512, 2)), IoStatus::ok);
  // The device has refused it: that is told with the next write or flush, and the data stays.
  EXPECT_EQ(rig.flush(), IoStatus::io_error);
  EXPECT_EQ(rig.write(kDataOffset + 8192, filled(512, 3)), IoStatus::io_error);
  Bytes expected = filled(12288, 1);
  std::fill_n(expected.begin() + 1024, 512, std::byte{2});
  EXPECT_EQ(rig.read(kDataOffset, 12288), expected);
  EXPECT_FALSE(rig.close());
  rig.kill(false);
  rig.drive->faults() = {};
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.read(kDataOffset, 12288), expected);
}

TEST(WriteBuffer, WithoutItsMemoryUnderTheSameBootItIsRefused) {
  Rig rig;
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.write(kDataOffset, filled(4096, 1)), IoStatus::ok);
  const Uuid id = rig.memory.buffers.begin()->first;
  rig.kill(false);
  rig.memory.buffers.clear();
  const Result<void> refused = rig.start();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, testing::HasSubstr(id.to_string()));
  EXPECT_EQ(refused.error().code, Errc::busy);  // never "not found": that calls for a new pool
  // Nor if nobody can tell whether it is another boot.
  rig.kill(false);
  const uint64_t boot = std::exchange(rig.boot, 0);
  EXPECT_EQ(rig.start().error().code, Errc::busy);
  rig.kill(false);
  rig.boot = boot + 1;  // after a restart of the machine it opens
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.write(kDataOffset, filled(4096, 2)), IoStatus::ok);
  EXPECT_NE(rig.memory.buffers.begin()->first, id);
}

TEST(WriteBuffer, AMarkThatFailedHalfWayIsMetAgain) {
  Rig rig;
  ASSERT_TRUE(rig.start(0));
  rig.drive->faults().flush_error = 1'000'000;
  EXPECT_FALSE(test::run(rig.world, *rig.reactor, rig.buffer->begin(kBufferBytes)));
  rig.kill(false);
  rig.drive->faults() = {};
  EXPECT_TRUE(rig.start());
}

TEST(WriteBuffer, AnOldMemoryIsNotWrittenOverADeviceThatWentOnWithoutIt) {
  Rig rig;
  ASSERT_TRUE(rig.start());
  rig.drive->faults().hang = 1'000'000;
  rig.drive->faults().hang_ns = sim::kNever;
  EXPECT_EQ(rig.write(kDataOffset, filled(4096, 1)), IoStatus::ok);
  rig.kill(false);
  rig.drive->faults() = {};
  // Another machine uses the device, and it comes back.
  std::map<Uuid, Buffer> kept = std::move(rig.memory.buffers);
  rig.memory.buffers.clear();
  rig.boot = 77;
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.write(kDataOffset, filled(4096, 2)), IoStatus::ok);
  EXPECT_TRUE(rig.close());
  rig.kill(false);
  rig.memory.buffers = std::move(kept);
  rig.boot = 1;
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.read(kDataOffset, 4096), filled(4096, 2));
}

TEST(WriteBuffer, ReadOnlyShowsWhatIsLeftAndChangesNothing) {
  Rig rig;
  ASSERT_TRUE(rig.start());
  rig.drive->faults().hang = 1'000'000;
  rig.drive->faults().hang_ns = sim::kNever;
  EXPECT_EQ(rig.write(kDataOffset, filled(4096, 9)), IoStatus::ok);
  rig.kill(false);
  rig.drive->faults() = {};
  ASSERT_TRUE(rig.start(kBufferBytes, WriteBuffer::Access::read_only));
  Bytes expected = filled(8192, 0);
  std::fill_n(expected.begin(), 4096, std::byte{9});
  EXPECT_EQ(rig.read(kDataOffset, 8192), expected);
  rig.kill(false);
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.read(kDataOffset, 8192), expected);
}

TEST(WriteBuffer, TurnedOffOrClosedItLeavesNothingBehind) {
  Rig rig;
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.write(kDataOffset, filled(4096, 3)), IoStatus::ok);
  EXPECT_TRUE(rig.close());
  EXPECT_TRUE(rig.memory.buffers.empty());
  rig.kill(true);
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.read(kDataOffset, 4096), filled(4096, 3));
  rig.kill(false);
  ASSERT_TRUE(rig.start(0));
  EXPECT_TRUE(rig.memory.buffers.empty());
  EXPECT_EQ(rig.buffer->size_bytes(), 0u);
  rig.kill(false);
  rig.memory.full = true;
  EXPECT_EQ(rig.start().error().code, Errc::no_space);
}

TEST(WriteBuffer, ForeignMemoryIsRefusedWhateverItHolds) {
  Rig rig;
  ASSERT_TRUE(rig.start());
  const Uuid id = rig.memory.buffers.begin()->first;
  Bytes sound(rig.memory.buffers[id].span().begin(), rig.memory.buffers[id].span().end());
  Random random(5);
  for (int round = 0; round < 2000; ++round) {
    Buffer memory(sound.size());
    std::copy(sound.begin(), sound.end(), memory.data());
    const uint64_t reach = random.chance(1, 2) ? 64 : 4096 + 512;
    for (uint64_t i = 0; i < random.between(1, 8); ++i)
      memory.data()[random.below(reach)] = static_cast<std::byte>(random.next());
    const auto parsed = BufferRing::parse(memory.span(), id, kDriveBytes, "memory");
    if (!parsed) continue;
    for (uint64_t seq = parsed.value().first_seq(); seq < parsed.value().end_seq(); ++seq)
      EXPECT_LE(parsed.value().at(seq).end(), kDriveBytes);
  }
}

/// Random writes, reads and flushes with the process or the power lost between: every sector is
/// what the promises say.
void run_model(uint64_t seed) {
  Rig rig(seed);
  Random random(seed);
  constexpr uint64_t kSectors = 256;
  std::vector<int> acknowledged(kSectors, 0);
  std::vector<std::vector<int>> possible(kSectors, {0});  // since the last flush
  ASSERT_TRUE(rig.start());
  for (int step = 0; step < 300; ++step) {
    const uint64_t dice = random.below(100);
    const uint64_t first = random.below(kSectors);
    const uint64_t count = 1 + random.below(std::min<uint64_t>(kSectors - first, 40));
    const uint64_t offset = kDataOffset + first * kSectorBytes;
    if (dice < 60) {
      const int value = 1 + static_cast<int>(random.below(250));
      ASSERT_EQ(rig.write(offset, filled(count * kSectorBytes, value), random.chance(1, 20)),
                IoStatus::ok);
      for (uint64_t s = first; s < first + count; ++s) {
        acknowledged[s] = value;
        possible[s].push_back(value);
      }
    } else if (dice < 85) {
      const Bytes data = rig.read(offset, count * kSectorBytes);
      for (uint64_t s = 0; s < count; ++s)
        ASSERT_EQ(static_cast<int>(data[s * kSectorBytes]), acknowledged[first + s]) << seed;
    } else if (dice < 92) {
      ASSERT_EQ(rig.flush(), IoStatus::ok);
      for (uint64_t s = 0; s < kSectors; ++s) possible[s] = {acknowledged[s]};
    } else {
      const bool power = dice >= 97;
      rig.kill(power);
      ASSERT_TRUE(rig.start(random.chance(1, 4) ? 0 : kBufferBytes));
      const Bytes data = rig.read(kDataOffset, kSectors * kSectorBytes);
      for (uint64_t s = 0; s < kSectors; ++s) {
        const int shown = static_cast<int>(data[s * kSectorBytes]);
        if (power)
          ASSERT_THAT(possible[s], testing::Contains(shown)) << "seed " << seed << " sector " << s;
        else
          ASSERT_EQ(shown, acknowledged[s]) << "seed " << seed << " sector " << s;
        acknowledged[s] = shown;
      }
    }
  }
}

TEST(WriteBuffer, KeepsItsPromisesUnderRandomDeaths) {
  for (uint64_t seed = 1; seed <= 60; ++seed) run_model(seed);
}

TEST(ShmBufferMemory, IsAFileInMemoryThatAnotherObjectFinds) {
  const Uuid id = Uuid::from_random(0x1234, 0x5678);
  auto first = std::make_unique<ShmBufferMemory>("/dev/shm");
  first->remove(id);
  auto made = first->create(id, 1u << 20);
  ASSERT_TRUE(made) << made.error().message;
  made.value()[4096] = std::byte{42};
  EXPECT_EQ(first->create(id, 1u << 20).error().code, Errc::exists);
  EXPECT_EQ(ShmBufferMemory("/dev/shm").open(id).error().code, Errc::busy);
  first.reset();  // a process that dies lets go of it, too
  ShmBufferMemory second("/dev/shm");
  const auto found = second.open(id);
  ASSERT_TRUE(found);
  EXPECT_EQ(found.value()[4096], std::byte{42});
  std::filesystem::permissions(second.name(id), std::filesystem::perms::others_write,
                               std::filesystem::perm_options::add);
  ShmBufferMemory third("/dev/shm");
  EXPECT_EQ(third.open(id).error().code, Errc::damaged);
  second.remove(id);
  EXPECT_EQ(third.open(id).error().code, Errc::not_found);
}

TEST(ShmBufferMemory, NotOnADisk) {
  ShmBufferMemory memory("/usr");
  const auto made = memory.create(Uuid::from_random(1, 2), 1u << 20);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, testing::HasSubstr("not on a memory file system"));
}

TEST(Uuid, ParsesWhatItPrints) {
  const Uuid id = Uuid::from_random(0x0123456789abcdef, 0xfedcba9876543210);
  EXPECT_EQ(Uuid::parse(id.to_string()), id);
  EXPECT_FALSE(Uuid::parse(""));
  EXPECT_FALSE(Uuid::parse(id.to_string() + "0"));
  EXPECT_FALSE(Uuid::parse("0123456789abcdef0123456789abcdef"));
  EXPECT_FALSE(Uuid::parse(std::string(36, 'g')));
}

}  // namespace
}  // namespace latte
