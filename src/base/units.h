// Block geometry and the strong types that must not be mixed.
#pragma once

#include <compare>
#include <cstdint>

namespace latte {

/// Unit of the index, the logs and their checksums, in bytes.
inline constexpr uint32_t kBlockBytes = 4096;
/// Smallest unit a client may address, in bytes.
inline constexpr uint32_t kSectorBytes = 512;

/// Nanoseconds on a monotonic clock (or a span of it). Signed: differences are common.
using TimeNs = int64_t;
inline constexpr TimeNs kMicrosecond = 1'000;
inline constexpr TimeNs kMillisecond = 1'000'000;
inline constexpr TimeNs kSecond = 1'000'000'000;

/// A number that only mixes with its own kind; differences are plain integers.
template <typename Tag>
struct Strong {
  uint64_t value = 0;

  constexpr Strong() = default;
  constexpr explicit Strong(uint64_t v) : value(v) {}
  friend constexpr auto operator<=>(Strong, Strong) = default;
  friend constexpr Strong operator+(Strong a, uint64_t n) { return Strong(a.value + n); }
  friend constexpr Strong operator-(Strong a, uint64_t n) { return Strong(a.value - n); }
  friend constexpr uint64_t operator-(Strong a, Strong b) { return a.value - b.value; }
  constexpr Strong& operator+=(uint64_t n) {
    value += n;
    return *this;
  }
  constexpr Strong& operator++() {
    ++value;
    return *this;
  }
};

/// Logical block address on a disk, in units of kBlockBytes.
using Lba = Strong<struct LbaTag>;
/// Do the `a_count` blocks from `a` on and the `b_count` from `b` on have one in common?
constexpr bool overlap(Lba a, uint64_t a_count, Lba b, uint64_t b_count) {
  return a.value < b.value + b_count && b.value < a.value + a_count;
}
/// Sequence number of a write of one disk; every write gets the next one. 0 = before any write.
using Seq = Strong<struct SeqTag>;

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}
constexpr uint64_t round_down(uint64_t value, uint64_t unit) { return value / unit * unit; }

/// For people: bytes in MiB.
constexpr double mebibytes(uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace latte
