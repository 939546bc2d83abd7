#include "sim/sim_port.h"

#include <algorithm>
#include <cmath>

namespace latte::sim {

TimeNs Pipe::pass(const LatencyModel& model, TimeNs now, uint64_t bytes, bool is_flush,
                  Random& random) {
  const TimeNs start = std::max(now, busy_until_);
  double service_s = 0;
  if (model.bytes_per_second > 0) service_s += static_cast<double>(bytes) / model.bytes_per_second;
  if (model.requests_per_second > 0) service_s += 1.0 / model.requests_per_second;
  busy_until_ = start + static_cast<TimeNs>(service_s * 1e9);
  const double tail = -std::log(1.0 - random.uniform()) * static_cast<double>(model.tail_ns);
  const TimeNs base = is_flush ? model.flush_ns : model.base_ns;
  return busy_until_ + base + static_cast<TimeNs>(tail);
}

TimeNs modelled_end(model::DeviceModel& timing, const IoRequest& request, TimeNs now) {
  model::ModelIo io;
  io.time_ns = now;
  io.op = request.op == IoOp::read    ? model::ModelOp::read
          : request.op == IoOp::write ? model::ModelOp::write
                                      : model::ModelOp::flush;
  if (io.op != model::ModelOp::flush) {
    io.offset = request.offset;
    io.length_bytes = static_cast<uint32_t>(request.length);
  }
  return timing.submit(io);
}

void SimPort::connect(SimReactor& reactor) {
  LATTE_CHECK(under_way_ == 0);
  reactor_ = &reactor;
}

IoStatus SimPort::validate(const IoRequest& request) const {
  if (request.op == IoOp::flush) return IoStatus::ok;
  if (request.offset % info_.alignment_bytes != 0 || request.length % info_.alignment_bytes != 0 ||
      request.length == 0 || !range_within(request.offset, request.length, info_.size_bytes))
    return IoStatus::invalid;
  if (request.op != IoOp::read && request.op != IoOp::write) return IoStatus::ok;
  if (request.length > info_.max_request_bytes || request.iov_count == 0) return IoStatus::invalid;
  uint64_t total = 0;
  for (uint32_t i = 0; i < request.iov_count; ++i) {
    if (request.iov[i].iov_len % info_.alignment_bytes != 0) return IoStatus::invalid;
    total += request.iov[i].iov_len;
  }
  return total == request.length ? IoStatus::ok : IoStatus::invalid;
}

bool SimPort::submit(IoRequest& request) {
  LATTE_CHECK(reactor_ != nullptr);
  const IoStatus valid = validate(request);
  if (valid != IoStatus::ok) {
    request.status = valid;
    world_.trace("{}: op {} offset {} length {} refused as invalid", info_.name,
                 static_cast<int>(request.op), request.offset, request.length);
    return false;
  }
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  Slot& slot = slots_[index];
  slot.request = &request;
  slot.token = ++next_token_ << 32 | index;
  slot.mark = mark();
  slot.done = false;
  ++under_way_;
  const Plan planned = plan(request);
  slot.complete_at = planned.complete_at;
  const uint64_t token = slot.token;
  if (planned.early && postponed_until() == 0) {
    slot.done = true;
    slot.status = execute(request, slot.mark);
  }
  if (planned.complete_at != kNever) world_.post(planned.complete_at, *this, token);
  return true;
}

void SimPort::on_event(uint64_t token) {
  const auto index = static_cast<uint32_t>(token);
  LATTE_CHECK(index < slots_.size() && slots_[index].token == token);
  const TimeNs later = postponed_until();
  if (later != 0) {
    LATTE_CHECK(later > world_.now());
    slots_[index].complete_at = later;
    if (later != kNever) world_.post(later, *this, token);
    return;
  }
  Slot slot = slots_[index];
  IoRequest& request = *slot.request;
  request.status = slot.done ? slot.status : execute(request, slot.mark);
  slots_[index].request = nullptr;
  slots_[index].token = 0;
  free_slots_.push_back(index);
  --under_way_;
  world_.mix(request.offset ^ request.length << 40 ^ static_cast<uint64_t>(request.op) << 32 ^
             static_cast<uint64_t>(request.status) << 36);
  world_.trace("{}: {} offset {} length {}{}: {}", info_.name,
               request.op == IoOp::read      ? "read"
               : request.op == IoOp::write   ? "write"
               : request.op == IoOp::flush   ? "flush"
               : request.op == IoOp::discard ? "discard"
                                             : "write_zeroes",
               request.offset, request.length, request.fua ? " fua" : "",
               to_string(request.status));
  reactor_->schedule(request.waiter);
}

}  // namespace latte::sim
