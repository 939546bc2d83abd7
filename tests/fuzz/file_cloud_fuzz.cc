// Fuzzes the small files of a file cloud volume, its superblock and its fence: arbitrary bytes, or
// a good superblock with bytes changed. What must hold: each is read or refused with a message, a
// volume that opens swaps its superblock or says why not, and never lowers the fence.
//
// Input: a byte of what to do, a byte for the fence's length, 8 bytes of fence, then the superblock
// file.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "device/file_cloud_volume.h"
#include "device/file_super.h"
#include "runtime/call_on.h"
#include "runtime/uring_reactor.h"

namespace latte {
namespace {

constexpr uint64_t kBytes = 64u << 10;

enum Mode : uint8_t {
  kGoodSuper = 1,  // the input is XORed on a superblock file that is whole
  kReadOnly = 2,
  kNoFence = 4,
  kMatch = 8,  // ... of the fence's generation
};

/// A volume of files in memory's file system, made once.
class Files {
 public:
  Files() {
    std::string name = "/dev/shm/latte-fuzz-XXXXXX";
    LATTE_CHECK(::mkdtemp(name.data()) != nullptr);
    directory_ = name;
    LATTE_CHECK(FileCloudVolume::create(directory_, kBytes, kBytes).ok());
  }
  ~Files() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  const std::string& directory() const { return directory_; }
  void put(const char* name, std::span<const uint8_t> bytes) const {
    std::ofstream file(directory_ + "/" + name, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  std::vector<uint8_t> get(const char* name) const {
    std::ifstream file(directory_ + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::string directory_;
};

uint64_t number_of(std::span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < std::min<size_t>(8, bytes.size()); ++i)
    value |= uint64_t{bytes[i]} << (8 * i);
  return value;
}

Result<void> swap(UringReactor& reactor, FileCloudVolume& volume, uint64_t from, uint64_t to) {
  static const SuperBytes next{};
  return run_task(reactor, volume.swap_super(from, to, next));
}

void run(UringReactor& reactor, const Files& files, uint8_t mode, std::span<const uint8_t> fence) {
  const Result<StoredSuper> super = read_file_super(files.directory());
  LATTE_CHECK(super.ok() || !super.error().message.empty());
  FileCloudVolume::Options options;
  options.read_only = (mode & kReadOnly) != 0;
  options.direct = false;
  auto opened = FileCloudVolume::open(reactor, files.directory(), options);
  if (!opened) {
    LATTE_CHECK(!opened.error().message.empty());
    LATTE_CHECK(fence.size() < 8);
    return;
  }
  FileCloudVolume& volume = *opened.value();
  const uint64_t fenced = number_of(fence);
  const auto read = run_task(reactor, volume.read_super());
  LATTE_CHECK(read.ok() == super.ok());
  const uint64_t generation = super.ok() ? super.value().generation : 0;
  if (generation >= 1ull << 60) return;  // the engine refuses such a superblock
  const auto swapped = swap(reactor, volume, generation, generation + 1);
  if (!swapped) {
    LATTE_CHECK(!swapped.error().message.empty());
  } else {
    LATTE_CHECK(super.ok() && !options.read_only);
    LATTE_CHECK(volume.generation() == generation + 1);
    const auto after = read_file_super(files.directory());
    LATTE_CHECK(after.ok() && after.value().generation == generation + 1);
  }
  LATTE_CHECK(number_of(files.get("fence")) >= fenced);
  // A generation that is not the present one is refused.
  LATTE_CHECK(!swap(reactor, volume, generation + 2, generation + 3).ok());
}

}  // namespace
}  // namespace latte

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace latte;
  static const Files files;
  static const std::unique_ptr<UringReactor> reactor = [] {
    spdlog::set_level(spdlog::level::off);
    auto made = UringReactor::create({});
    LATTE_CHECK(made.ok());
    return made.take();
  }();
  if (size < 10) return 0;
  const uint8_t mode = data[0];
  const auto fence = std::span(data + 2, std::min<size_t>(data[1] % 10, 8));
  auto super = std::vector<uint8_t>(data + 10, data + size);
  if ((mode & kGoodSuper) != 0) {
    const uint64_t generation = (mode & kMatch) != 0 ? number_of(fence) : 1;
    LATTE_CHECK(write_file_super(files.directory(), StoredSuper{generation, {}}).ok());
    auto good = files.get("super");
    for (size_t i = 0; i < super.size(); ++i)
      i < good.size() ? good[i] ^= super[i] : (good.push_back(super[i]), super[i]);
    super = good;
  }
  files.put("super", super);
  if ((mode & kNoFence) != 0)
    std::filesystem::remove(files.directory() + "/fence");
  else
    files.put("fence", fence);
  run(*reactor, files, mode, (mode & kNoFence) != 0 ? std::span<const uint8_t>{} : fence);
  return 0;
}
