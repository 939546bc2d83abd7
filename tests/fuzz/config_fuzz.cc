// Fuzzes the configuration: any bytes give a Config that keeps its promises, or an error with a
// message.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "control/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = latte::parse_config(text, "fuzz.toml", "/srv");
  if (!config) {
    LATTE_CHECK(!config.error().message.empty());
    return 0;
  }
  const latte::Config& good = config.value();
  LATTE_CHECK(!good.disks.empty() && good.disks.size() <= latte::kMaxDisks);
  LATTE_CHECK(good.pool.size_bytes % latte::kBlockBytes == 0);
  LATTE_CHECK(good.pool.path.front() == '/');
  for (const latte::DiskConfig& disk : good.disks) {
    LATTE_CHECK(disk.options.size_bytes > 0 && disk.options.size_bytes % latte::kBlockBytes == 0);
    LATTE_CHECK(disk.options.max_lag_ns > 0);
    LATTE_CHECK(good.find(disk.options.name) == &disk);
    LATTE_CHECK((disk.cloud.kind == latte::CloudKind::none) ==
                (disk.kind == latte::DiskKind::local));
    if (disk.cloud.kind == latte::CloudKind::file) LATTE_CHECK(disk.cloud.directory.front() == '/');
  }
  return 0;
}
