#include "trace/record_parser.h"

#include <fmt/format.h>

#include <charconv>

namespace latte::trace {

std::string_view Fields::next() {
  if (separator_ == ' ') {
    const size_t begin = rest_.find_first_not_of(" \t");
    rest_.remove_prefix(begin == std::string_view::npos ? rest_.size() : begin);
  }
  const size_t end = separator_ == ' ' ? rest_.find_first_of(" \t") : rest_.find(separator_);
  const std::string_view field = rest_.substr(0, end);
  rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
  return field;
}

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (stop != end || text.empty()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return UINT64_MAX;
  if (error != std::errc()) return std::nullopt;
  return value;
}

uint64_t scaled(uint64_t value, uint64_t unit) {
  return value > UINT64_MAX / unit ? UINT64_MAX : value * unit;
}

bool TraceClock::to_ns(uint64_t ticks, TimeNs& out) {
  if (!first_) first_ = ticks;
  const __int128 ns = (static_cast<__int128>(ticks) - *first_) * tick_ns_;
  if (ns > INT64_MAX || ns < INT64_MIN) return false;
  out = static_cast<TimeNs>(ns);
  return true;
}

Parsed DeviceFilter::refuse(std::string_view device) const {
  return Parsed::bad(TraceFault::other_device,
                     fmt::format("it is of {}, the trace is read for {}; choose with --device, and "
                                 "--lenient to skip the rest",
                                 device, wanted_));
}

}  // namespace latte::trace
