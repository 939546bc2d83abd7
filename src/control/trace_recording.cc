#include "control/trace_recording.h"

#include <algorithm>
#include <utility>

namespace latte {
namespace {

trace::TraceOp trace_op(IoOp op) {
  switch (op) {
    case IoOp::read:
      return trace::TraceOp::read;
    case IoOp::write:
      return trace::TraceOp::write;
    case IoOp::flush:
      return trace::TraceOp::flush;
    case IoOp::discard:
    case IoOp::write_zeroes:
      break;
  }
  return trace::TraceOp::discard;
}

}  // namespace

TraceRecording::TraceRecording(Rings rings, TimeNs start_ns, std::function<void()> end)
    : rings_(std::move(rings)), start_ns_(start_ns), end_(std::move(end)) {}

TraceRecording::~TraceRecording() { end_(); }

void TraceRecording::take(std::string& lines) {
  batch_.clear();
  for (const auto& ring : rings_) ring->take(batch_);
  std::stable_sort(batch_.begin(), batch_.end(),
                   [](const TracedIo& a, const TracedIo& b) { return a.time_ns < b.time_ns; });
  for (const TracedIo& io : batch_) {
    const trace::TraceRecord record{io.time_ns - start_ns_, io.offset, io.length, trace_op(io.op)};
    recorded_ += writer_.add(record, lines) ? 1 : 0;
  }
}

uint64_t TraceRecording::lost() const {
  uint64_t lost = 0;
  for (const auto& ring : rings_) lost += ring->lost();
  return lost;
}

}  // namespace latte
