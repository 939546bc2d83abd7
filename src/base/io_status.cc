#include "base/io_status.h"

#include <cerrno>

namespace latte {

IoStatus io_status_from_errno(int negative_errno) {
  if (negative_errno >= 0) return IoStatus::ok;
  switch (-negative_errno) {
    case ENOSPC:
    case EDQUOT:
      return IoStatus::no_space;
    case EINVAL:
    case EOPNOTSUPP:
      return IoStatus::invalid;
    case ESHUTDOWN:
      return IoStatus::fenced;
    default:
      return IoStatus::io_error;
  }
}

}  // namespace latte
