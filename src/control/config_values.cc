#include "control/config_values.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <utility>

namespace latte {
namespace {

// format_size() uses the binary ones, which come first.
constexpr std::array kSizeUnits = {
    std::pair{std::string_view("TiB"), uint64_t{1} << 40},
    std::pair{std::string_view("GiB"), uint64_t{1} << 30},
    std::pair{std::string_view("MiB"), uint64_t{1} << 20},
    std::pair{std::string_view("KiB"), uint64_t{1} << 10},
    std::pair{std::string_view("B"), uint64_t{1}},
    std::pair{std::string_view(""), uint64_t{1}},
    std::pair{std::string_view("kB"), uint64_t{1000}},
    std::pair{std::string_view("KB"), uint64_t{1000}},
    std::pair{std::string_view("MB"), uint64_t{1000'000}},
    std::pair{std::string_view("GB"), uint64_t{1000'000'000}},
    std::pair{std::string_view("TB"), uint64_t{1000'000'000'000}},
};
constexpr std::array kTimeUnits = {
    std::pair{std::string_view("ms"), kMillisecond},
    std::pair{std::string_view("s"), kSecond},
    std::pair{std::string_view("m"), 60 * kSecond},
    std::pair{std::string_view("h"), 3600 * kSecond},
};

// A whole number and the unit behind it.
template <typename Units>
bool parse_with_unit(std::string_view text, const Units& units, uint64_t most, uint64_t& out) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc()) return false;
  std::string_view unit(rest, static_cast<size_t>(end - rest));
  if (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  for (const auto& [name, factor] : units) {
    if (unit != name) continue;
    const auto scale = static_cast<uint64_t>(factor);
    if (number > most / scale) return false;
    out = number * scale;
    return true;
  }
  return false;
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  uint64_t bytes = 0;
  if (!parse_with_unit(text, kSizeUnits, INT64_MAX, bytes))
    return Error{
        Errc::invalid,
        "is no size; write whole bytes, or a whole number with KiB, MiB, GiB or TiB, such as "
        "\"512MiB\""};
  return bytes;
}

Result<TimeNs> parse_duration(std::string_view text) {
  uint64_t ns = 0;
  const bool good = parse_with_unit(text, kTimeUnits, uint64_t{kMaxDurationNs}, ns);
  if (!good || ns == 0)
    return Error{
        Errc::invalid,
        "is no duration; write a whole number with ms, s, m or h, from 1ms to 24h, such as "
        "\"2s\""};
  return static_cast<TimeNs>(ns);
}

std::string format_size(uint64_t bytes) {
  for (const auto& [name, factor] : kSizeUnits) {
    if (bytes < factor || factor == 1) continue;
    if (bytes % factor == 0) return fmt::format("{} {}", bytes / factor, name);
    return fmt::format("{:.1f} {}", static_cast<double>(bytes) / static_cast<double>(factor), name);
  }
  return fmt::format("{} B", bytes);
}

std::string format_duration_s(uint64_t seconds) {
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {} min", seconds / 3600, seconds / 60 % 60);
}

}  // namespace latte
