#include "pattern.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "base/units.h"

namespace latte::simtest {

namespace {
constexpr uint64_t kMagic = 0x5354414d50ull << 16;  // "STAMP"
constexpr size_t kWords = kSectorBytes / sizeof(uint64_t);
using Words = std::array<uint64_t, kWords>;

void make(Words& words, uint32_t disk, WriteId write, uint64_t sector) {
  words[0] = kMagic | disk;
  words[1] = write;
  words[2] = sector;
  uint64_t mixed = (words[0] ^ write * 0x9e3779b97f4a7c15ull) + sector * 0xd1342543de82ef95ull;
  mixed ^= mixed >> 31;
  for (size_t i = 3; i < kWords; ++i) words[i] = mixed + i * 0xbf58476d1ce4e5b9ull;
}
}  // namespace

void fill_pattern(std::span<std::byte> data, uint32_t disk, WriteId write, uint64_t first_sector) {
  LATTE_CHECK(data.size() % kSectorBytes == 0 && write != 0 && disk < 0x10000);
  Words words;
  for (size_t at = 0; at < data.size(); at += kSectorBytes) {
    make(words, disk, write, first_sector + at / kSectorBytes);
    std::memcpy(data.data() + at, words.data(), kSectorBytes);
  }
}

std::optional<Stamp> identify(std::span<const std::byte> sector) {
  LATTE_CHECK(sector.size() == kSectorBytes);
  Words words;
  std::memcpy(words.data(), sector.data(), kSectorBytes);
  Words expected{};
  Stamp stamp;
  if (words[0] != 0) {
    stamp.disk = static_cast<uint32_t>(words[0] & 0xffff);
    stamp.write = words[1];
    stamp.sector = words[2];
    make(expected, stamp.disk, stamp.write, stamp.sector);
  }
  if (words != expected) return std::nullopt;
  return stamp;
}

}  // namespace latte::simtest
