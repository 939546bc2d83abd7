#include "device/cloud_snapshots.h"

#include <fmt/core.h>

namespace latte {

Error no_such_snapshot(const std::string& where, const std::string& name) {
  return Error{Errc::not_found,
               fmt::format("{}: there is no snapshot {}; latte snapshot list shows what there is",
                           where, name)};
}

}  // namespace latte
