#include "base/logging.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace latte {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::off:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

spdlog::logger& logger() {
  static const auto instance = spdlog::stderr_color_mt("latte");
  return *instance;
}

}  // namespace

void write_log(LogLevel level, std::string_view line) { logger().log(to_spdlog(level), line); }

void set_log_level(LogLevel level) { logger().set_level(to_spdlog(level)); }

}  // namespace latte
