// LineSocket: a connected stream socket that carries one JSON document a line, with time limits.
// Both ends of the control protocol use it.
//
// Invariants:
//  1. A line longer than kMaxLineBytes is refused before more than that is held.
//  2. No call takes longer than its time limit.
// Thread rule: one owner; cut() from any thread while it lives.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "device/unique_fd.h"

namespace latte {

/// Longest line either side takes, without its newline.
inline constexpr size_t kMaxLineBytes = 64u << 10;

class LineSocket {
 public:
  explicit LineSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  /// Connects to the unix socket `path`. Errors: not_found (nobody listens there), invalid, io.
  static Result<LineSocket> connect(const std::string& path);

  /// The next line. Errors: not_found (the other end closed), invalid (too long), io (late, or
  /// broken).
  Result<std::string> read_line(int timeout_ms);
  /// Errors: io (late, or broken).
  Result<void> write_line(std::string line, int timeout_ms);
  /// write_line() of a document on one line; text that is no UTF-8 is mended.
  Result<void> write_json(const nlohmann::ordered_json& document, int timeout_ms);
  /// Ends whatever waits on the socket.
  void cut();

 private:
  Result<void> wait(short events, int timeout_ms) const;

  UniqueFd fd_;
  std::string received_;
};

}  // namespace latte
