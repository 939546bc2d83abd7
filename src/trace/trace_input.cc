#include "trace/trace_input.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace latte::trace {
namespace {

constexpr size_t kBufferBytes = 4 * kMaxLineBytes;

}  // namespace

TraceInput::TraceInput(std::unique_ptr<ByteSource> source)
    : source_(std::move(source)), buffer_(kBufferBytes) {}

Result<bool> TraceInput::fill() {
  if (ended_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  LATTE_CHECK(end_ < buffer_.size());
  auto got = source_->read({buffer_.data() + end_, buffer_.size() - end_});
  if (!got) return got.error();
  end_ += got.value();
  ended_ = got.value() == 0;
  return !ended_;
}

Result<TraceInput::Piece> TraceInput::line() {
  size_t searched = 0;
  bool too_long = false;
  for (;;) {
    const std::string_view rest = held();
    const size_t newline = rest.find('\n', searched);
    if (newline != std::string_view::npos) {
      begin_ += newline + 1;
      std::string_view text = rest.substr(0, newline);
      if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
      too_long |= text.size() > kMaxLineBytes;
      return Piece{text.substr(0, kMaxLineBytes), false, true, too_long};
    }
    searched = rest.size();
    if (searched > kMaxLineBytes) {  // its rest is of no interest, only where it ends
      too_long = true;
      begin_ = end_ - 1;
      searched = 0;
    }
    auto more = fill();
    if (!more) return more.error();
    if (more.value()) continue;
    const std::string_view last = held();
    begin_ = end_;
    return Piece{last, last.empty() && !too_long, false, too_long};
  }
}

Result<TraceInput::Piece> TraceInput::record(size_t count) {
  LATTE_CHECK(count > 0 && count <= kMaxLineBytes);
  while (end_ - begin_ < count) {
    auto more = fill();
    if (!more) return more.error();
    if (!more.value()) break;
  }
  const std::string_view bytes = held().substr(0, count);
  begin_ += bytes.size();
  return Piece{bytes, bytes.empty(), bytes.size() == count, false};
}

std::string_view TraceInput::ahead() {
  while (end_ - begin_ < kMaxLineBytes) {
    const auto more = fill();
    if (!more || !more.value()) break;
  }
  return held().substr(0, kMaxLineBytes);
}

}  // namespace latte::trace
