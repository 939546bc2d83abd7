#include "replay/request_feeder.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/check.h"
#include "base/units.h"

namespace latte::replay {

RequestFeeder::RequestFeeder(Reactor& reactor, const RequestTrace& trace, double speed,
                             const OnProgress& on_progress)
    : reactor_(reactor), trace_(trace), speed_(speed), on_progress_(on_progress), room_(reactor) {
  LATTE_CHECK(speed > 0 && !trace.records.empty());
  const auto span = static_cast<TimeNs>(static_cast<double>(trace.records.back().time_ns) / speed);
  slice_ns_ = span / static_cast<TimeNs>(kTimeSlices) + 1;
  result_.slices.resize(kTimeSlices);
  for (size_t i = 0; i < kTimeSlices; ++i)
    result_.slices[i].begin_ns = static_cast<TimeNs>(i) * slice_ns_;
}

Task<void> RequestFeeder::run(BlockDevice& device) {
  start_ns_ = reactor_.now();
  for (const trace::TraceRecord& record : trace_.records) {
    const TimeNs due =
        start_ns_ + static_cast<TimeNs>(static_cast<double>(record.time_ns) / speed_);
    if (due > reactor_.now()) co_await reactor_.sleep_until(due);
    if (under_way_ >= kMaxUnderWay) ++result_.late;
    while (under_way_ >= kMaxUnderWay) co_await room_.wait();
    ++under_way_;
    reactor_.spawn(request(device, record));
    if (++result_.requests % kRequestsPerReport == 0)
      on_progress_(static_cast<double>(result_.requests) /
                   static_cast<double>(trace_.records.size()));
  }
  while (under_way_ > 0) co_await room_.wait();
  result_.virtual_ns = reactor_.now() - start_ns_;
}

Task<void> RequestFeeder::request(BlockDevice& device, const trace::TraceRecord& record) {
  const TimeNs begun = reactor_.now();
  IoStatus status = IoStatus::ok;
  Histogram* latency = nullptr;
  if (record.op == trace::TraceOp::flush) {
    status = co_await device.flush();
  } else if (record.op == trace::TraceOp::discard) {
    status = co_await device.discard(record.offset_bytes, record.length_bytes);
  } else {
    Buffer data(record.length_bytes);
    result_.blocks += (record.offset_bytes + record.length_bytes - 1) / kBlockBytes -
                      record.offset_bytes / kBlockBytes + 1;
    if (record.op == trace::TraceOp::read) {
      latency = &result_.read_latency;
      status = co_await device.read(record.offset_bytes, data.span().first(record.length_bytes));
    } else {
      latency = &result_.write_latency;
      std::fill(data.span().begin(), data.span().end(), std::byte{0x5a});
      status = co_await device.write(record.offset_bytes, data.span().first(record.length_bytes));
    }
  }
  const TimeNs took = reactor_.now() - begun;
  if (status != IoStatus::ok) ++result_.failed;
  const auto slice = static_cast<size_t>((reactor_.now() - start_ns_) / slice_ns_);
  result_.slices[std::min(slice, kTimeSlices - 1)].latency.record(took);
  if (latency != nullptr) latency->record(took);
  --under_way_;
  room_.notify_all();
}

}  // namespace latte::replay
