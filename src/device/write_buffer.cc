#include "device/write_buffer.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/planted.h"

namespace latte {

bool WriteBuffer::submit(IoRequest& request) {
  const bool pass = read_only_ && request.op != IoOp::read;
  if (!ring_ || pass) return below_.submit(request);
  if (request.op == IoOp::flush) {
    reactor_.spawn(flush_all(request));
    return true;
  }
  if (request.length == 0 || !range_within(request.offset, request.length, info().size_bytes))
    return below_.submit(request);  // to be answered as the device does
  if (request.op == IoOp::read) return submit_read(request);
  if (failure_ != IoStatus::ok) {
    request.status = failure_;
    return false;
  }
  return submit_write(request);
}

bool WriteBuffer::submit_read(IoRequest& request) {
  const uint64_t newest = ring_->newest_overlap(request.offset, request.length);
  if (newest == 0) return below_.submit(request);
  const BufferRing::Write& write = ring_->at(newest);
  if (write.offset <= request.offset && request.offset + request.length <= write.end()) {
    copy_overlap(*ring_, write, request);
    request.status = IoStatus::ok;
    return false;
  }
  reactor_.spawn(read_over(request));
  return true;
}

/// The device's content with what it lacks laid over. The writes are held meanwhile: one that the
/// device gets after it was read must still be laid over.
Task<void> WriteBuffer::read_over(IoRequest& request) {
  std::vector<uint64_t> over;
  for (uint64_t seq = ring_->first_seq(); seq < ring_->end_seq(); ++seq) {
    const BufferRing::Write& write = ring_->at(seq);
    const bool overlaps =
        write.offset < request.offset + request.length && request.offset < write.end();
    if (write.state == BufferRing::Write::State::done || !overlaps) continue;
    ring_->pin(seq);
    over.push_back(seq);
  }
  IoRequest below;
  below.ask_as(request, request.offset);
  const IoStatus status = co_await below_.io(below);
  for (const uint64_t seq : over) {
    if (status == IoStatus::ok) copy_overlap(*ring_, ring_->at(seq), request);
    ring_->unpin(seq);
  }
  progress_.notify_all();
  finish(request, status);
}

bool WriteBuffer::submit_write(IoRequest& request) {
  if (ring_->newest_overlap(request.offset, request.length) != 0) {
    reactor_.spawn(after_overlap(request));
    return true;
  }
  const bool short_write = request.op == IoOp::write && !request.fua &&
                           request.length <= std::min(kMaxBufferedBytes, ring_->max_write_bytes());
  if (!short_write || !ring_->add(request)) return below_.submit(request);
  write_behind();
  request.status = IoStatus::ok;
  return false;
}

Task<void> WriteBuffer::after_overlap(IoRequest& request) {
  uint64_t newest = 0;
  while ((newest = ring_->newest_overlap(request.offset, request.length)) != 0) {
    const IoStatus status = co_await wait_written(newest + 1);
    if (status == IoStatus::ok) continue;
    finish(request, status);
    co_return;
  }
  IoRequest below;
  below.ask_as(request, request.offset);
  const IoStatus status = co_await below_.io(below);
  finish(request, status);
}

Task<void> WriteBuffer::flush_all(IoRequest& request) {
  IoStatus status = IoStatus::ok;
  if (!planted(Planted::buffer_flush_skips_memory))
    status = co_await wait_written(ring_->end_seq());
  if (status == IoStatus::ok) {
    IoRequest below;
    below.ask_as(request, request.offset);
    status = co_await below_.io(below);
  }
  finish(request, status);
}

/// Waits until the device has every write below `end_seq`. Error: the device's.
Task<IoStatus> WriteBuffer::wait_written(uint64_t end_seq) {
  while (failure_ == IoStatus::ok && !ring_->written_up_to(end_seq)) co_await progress_.wait();
  co_return failure_;
}

void WriteBuffer::finish(IoRequest& request, IoStatus status) {
  request.status = status;
  reactor_.schedule(request.waiter);
}

/// Starts writing what waits, neighbours together.
void WriteBuffer::write_behind() {
  while (failure_ == IoStatus::ok && writing_ < kDepth && next_to_write_ < ring_->end_seq()) {
    const uint64_t first = next_to_write_;
    uint64_t bytes = 0;
    size_t count = 0;
    for (uint64_t seq = first; seq < ring_->end_seq() && count < kMergeWrites; ++seq, ++count) {
      const BufferRing::Write& write = ring_->at(seq);
      const bool neighbour = seq == first || write.offset == ring_->at(seq - 1).end();
      if (!neighbour || (seq != first && bytes + write.length > kMergeBytes)) break;
      bytes += write.length;
    }
    next_to_write_ += count;
    ++writing_;
    reactor_.spawn(write_run(first, count));
  }
}

Task<void> WriteBuffer::write_run(uint64_t seq, size_t count) {
  std::array<iovec, kMergeWrites> iov;
  IoRequest request;
  request.op = IoOp::write;
  request.offset = ring_->at(seq).offset;
  for (size_t i = 0; i < count; ++i) {
    BufferRing::Write& write = ring_->at(seq + i);
    write.state = BufferRing::Write::State::writing;
    const auto data = ring_->data(write);
    iov[i] = {data.data(), data.size()};
    request.length += data.size();
  }
  request.iov = iov.data();
  request.iov_count = static_cast<uint32_t>(count);
  const IoStatus status = co_await below_.io(request);
  --writing_;
  if (status != IoStatus::ok && failure_ == IoStatus::ok) failure_ = status;
  if (status == IoStatus::ok)
    for (size_t i = 0; i < count; ++i) ring_->set_done(seq + i);
  progress_.notify_all();
  write_behind();
}

}  // namespace latte
