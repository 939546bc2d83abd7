// The values of the configuration that are written with a unit: sizes and durations.
//
// Thread rule: none. Limits: sizes below 2^63 bytes, durations up to kMaxDurationNs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/units.h"

namespace latte {

/// Longest duration that can be written.
inline constexpr TimeNs kMaxDurationNs = 24 * 3600 * kSecond;

/// Reads `4096`, `512MiB`, `1 GiB` (B, KiB, MiB, GiB, TiB), `50MB` (KB, kB, MB, GB, TB: powers of
/// 1000) as bytes. Errors: invalid (the message says what is allowed, not which text it was).
Result<uint64_t> parse_size(std::string_view text);
/// Reads `500ms`, `2s`, `5m`, `1h` as ns, 1 ms to kMaxDurationNs. Errors: as above.
Result<TimeNs> parse_duration(std::string_view text);

/// For people: "1 GiB", "1.5 GiB", "4096 B".
std::string format_size(uint64_t bytes);
/// For people: "12 s", "3 min 20 s", "2 h 5 min".
std::string format_duration_s(uint64_t seconds);

}  // namespace latte
