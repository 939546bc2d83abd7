// Log lines for operators: level, then a sentence that names the object, the value and the remedy.
// Goes to stderr through spdlog; only logging.cc knows that.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace latte {

enum class LogLevel : uint8_t { debug, info, warning, error, off };

/// Writes one line if `level` is at least the one set. Thread safe.
void write_log(LogLevel level, std::string_view line);
/// Lines below `level` are dropped from now on. Default: info.
void set_log_level(LogLevel level);

template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace latte
