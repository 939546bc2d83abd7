// IoStatus: how one I/O ended. One byte, no allocation: the I/O path's error type.
#pragma once

#include <cstdint>

namespace latte {

/// Outcome of an I/O request. Everything but `ok` means that a write may or may not have happened
/// and that a read delivered nothing usable.
enum class [[nodiscard]] IoStatus : uint8_t{
    ok = 0,
    io_error = 1,  ///< the device failed the request
    no_space = 2,  ///< no room below (thin device, full file system)
    invalid = 3,   ///< outside the device, misaligned, or not supported by it
    checksum = 4,  ///< data was read but its CRC does not match: never delivered
    fenced = 5,    ///< a newer generation owns the volume; this writer is out for good
    lost = 6,      ///< the only copy of a block is gone (promise 5)
    stopped = 7,   ///< the disk is shutting down
};

/// The status's name for logs and errors ("ok", "io error", ...).
constexpr const char* to_string(IoStatus status) {
  switch (status) {
    case IoStatus::ok:
      return "ok";
    case IoStatus::io_error:
      return "I/O error";
    case IoStatus::no_space:
      return "no space";
    case IoStatus::invalid:
      return "invalid request";
    case IoStatus::checksum:
      return "checksum mismatch";
    case IoStatus::fenced:
      return "fenced by a newer owner";
    case IoStatus::lost:
      return "only copy lost";
    case IoStatus::stopped:
      return "stopped";
  }
  return "unknown";
}

/// Maps a negative errno of the kernel or of a library (0 or positive: ok) to an IoStatus.
IoStatus io_status_from_errno(int negative_errno);

}  // namespace latte
