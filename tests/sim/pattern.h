// Every sector a client writes carries a stamp: disk, write id, sector number, and a filling
// derived from them. So a sector read back names the write it came from, and anything else is
// recognised as garbage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace latte::simtest {

/// Id of a write of one disk. 0: zeroes (never written, discarded, or written as zeroes).
using WriteId = uint64_t;

/// What a sector's bytes say.
struct Stamp {
  uint32_t disk = 0;
  WriteId write = 0;
  uint64_t sector = 0;
};

/// Fills `data` (whole sectors) as `write` of `disk`, starting at `first_sector`.
void fill_pattern(std::span<std::byte> data, uint32_t disk, WriteId write, uint64_t first_sector);

/// Reads the stamp of one sector; write 0 if it is all zeroes; nothing if it is neither.
std::optional<Stamp> identify(std::span<const std::byte> sector);

}  // namespace latte::simtest
