// TraceInput: a ByteSource cut into lines, or into records of fixed size.
//
// Thread rule: one thread at a time. Limits: lines of kMaxLineBytes.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "trace/byte_source.h"

namespace latte::trace {

/// Longest line taken for one.
inline constexpr size_t kMaxLineBytes = 64u << 10;

class TraceInput {
 public:
  explicit TraceInput(std::unique_ptr<ByteSource> source);

  /// One line or record. `bytes` is valid until the next call.
  struct Piece {
    std::string_view bytes;
    bool end = false;       ///< there is none; `bytes` is empty
    bool complete = false;  ///< the line had its newline, the record all its bytes
    bool too_long = false;  ///< a line beyond kMaxLineBytes; `bytes` is its beginning
  };
  /// The next line without its newline (and carriage return). Errors: those of the source.
  Result<Piece> line();
  /// The next `count` bytes (at most kMaxLineBytes); fewer, and not complete, at the end.
  Result<Piece> record(size_t count);
  /// Up to kMaxLineBytes bytes ahead, without taking them. An error of the source is kept for
  /// later.
  std::string_view ahead();

  const ByteSource& source() const { return *source_; }

 private:
  /// Reads more; false at the end.
  Result<bool> fill();
  std::string_view held() const { return {buffer_.data() + begin_, end_ - begin_}; }

  std::unique_ptr<ByteSource> source_;
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool ended_ = false;
};

}  // namespace latte::trace
