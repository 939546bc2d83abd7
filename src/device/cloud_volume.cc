#include "device/cloud_volume.h"

#include <fmt/core.h>

namespace latte {

Task<Result<void>> CloudVolume::grow_base(uint64_t size_bytes) {
  const uint64_t there = base().info().size_bytes;
  if (there >= size_bytes) co_return Result<void>();
  co_return Error{
      Errc::unsupported,
      fmt::format("{}: its base has {} bytes and can't be made larger from here; make "
                  "it {} bytes long at the server, start latte serve again, then resize",
                  name(), there, size_bytes)};
}

}  // namespace latte
