// Transport: the byte stream under a connection. Sockets in the server, memory in tests and
// fuzzing.
#pragma once

#include <sys/uio.h>

#include <cstdint>

#include "runtime/task.h"

namespace latte {

/// One receive() and one send() may be under way at a time, the two together.
/// Thread rule: the connection's reactor.
class Transport {
 public:
  virtual ~Transport() = default;

  /// Waits for bytes and scatters them over the `count` pieces at `pieces`, both alive until then.
  /// Returns how many bytes (at least 1), 0 if the peer will send no more, or a negative errno.
  virtual Task<int> receive(const iovec* pieces, uint32_t count) = 0;
  /// Sends all bytes of the pieces; it may change the iovecs. Returns 0 or a negative errno.
  virtual Task<int> send(iovec* pieces, uint32_t count) = 0;
  /// A receive() under way, and every later one, soon returns 0 or what had arrived before.
  virtual void stop_receiving() = 0;
  /// Ends the stream: whatever is under way, and everything later, soon returns 0 or an error.
  virtual void abort() = 0;
};

}  // namespace latte
