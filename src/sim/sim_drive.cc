#include "sim/sim_drive.h"

namespace latte::sim {

namespace {
DeviceInfo drive_info(const DriveOptions& options) {
  DeviceInfo info;
  info.name = options.name;
  info.size_bytes = options.size_bytes;
  info.alignment_bytes = options.alignment_bytes;
  info.can_fua = options.can_fua;
  info.can_discard = options.can_discard;
  info.volatile_cache = true;
  return info;
}
}  // namespace

SimDrive::SimDrive(World& world, DriveOptions options)
    : SimPort(world, drive_info(options)), options_(options), store_(options.size_bytes) {
  LATTE_CHECK(options.size_bytes % kBlockBytes == 0);
}

void SimDrive::die() {
  dead_ = true;
  world_.trace("{}: dies", info_.name);
}

SimPort::Plan SimDrive::plan(const IoRequest& request) {
  const bool is_read = request.op == IoOp::read;
  const bool moves_data = is_read || request.op == IoOp::write;
  Plan planned;
  planned.complete_at = options_.timing ? modelled_end(*options_.timing, request, world_.now())
                                        : pipe_.pass(is_read ? options_.read : options_.write,
                                                     world_.now(), moves_data ? request.length : 0,
                                                     request.op == IoOp::flush, world_.random());
  planned.early = request.op != IoOp::flush && world_.random().chance(1, 4);
  if (draw(faults_.hang)) {
    planned.complete_at =
        faults_.hang_ns == kNever ? kNever : planned.complete_at + faults_.hang_ns;
    world_.trace("{}: hangs on op {} offset {}", info_.name, static_cast<int>(request.op),
                 request.offset);
  }
  return planned;
}

IoStatus SimDrive::execute(IoRequest& request, uint64_t mark) {
  if (dead_) return IoStatus::io_error;
  switch (request.op) {
    case IoOp::read:
      return execute_read(request);
    case IoOp::flush:
      return execute_flush(mark);
    case IoOp::write:
    case IoOp::discard:
    case IoOp::write_zeroes:
      return execute_write(request);
  }
  return IoStatus::invalid;
}

IoStatus SimDrive::execute_read(IoRequest& request) {
  if (draw(faults_.read_error)) return IoStatus::io_error;
  store_.read(request.offset, {request.iov, request.iov_count});
  if (draw(faults_.read_flip)) {
    const iovec& vector = request.iov[world_.random().below(request.iov_count)];
    const uint64_t at = world_.random().below(vector.iov_len);
    static_cast<std::byte*>(vector.iov_base)[at] ^= std::byte{0x10};
    world_.trace("{}: read of offset {} flips a bit", info_.name, request.offset);
  }
  return IoStatus::ok;
}

void SimDrive::put(const IoRequest& request, uint64_t offset, Random* tear) {
  PageStore::Mode mode;
  mode.durable = request.fua && options_.can_fua && tear == nullptr;
  mode.tear = tear;
  store_.write(offset, request.length, data_of(request), mode);
}

IoStatus SimDrive::execute_write(IoRequest& request) {
  if (draw(faults_.write_error)) {
    const uint64_t outcome = world_.random().below(3);
    if (outcome != 0) put(request, request.offset, outcome == 1 ? nullptr : &world_.random());
    return IoStatus::io_error;
  }
  if (draw(faults_.lost_write)) {
    damages_.push_back({DamageKind::lost_write, request.offset, request.length, world_.now()});
    world_.trace("{}: loses write to offset {} length {}", info_.name, request.offset,
                 request.length);
    return IoStatus::ok;
  }
  if (draw(faults_.misdirected_write)) {
    const uint64_t places = (info_.size_bytes - request.length) / kBlockBytes + 1;
    const uint64_t offset = world_.random().below(places) * kBlockBytes;
    damages_.push_back(
        {DamageKind::misdirected_write, request.offset, request.length, world_.now()});
    damages_.push_back({DamageKind::misdirected_write, offset, request.length, world_.now()});
    world_.trace("{}: write to offset {} length {} lands at {}", info_.name, request.offset,
                 request.length, offset);
    put(request, offset, nullptr);
    return IoStatus::ok;
  }
  put(request, request.offset, nullptr);
  if (draw(faults_.corrupt_write)) {
    const uint64_t first = request.offset / kBlockBytes;
    const uint64_t pages = round_up(request.length, kBlockBytes) / kBlockBytes;
    const uint64_t page = first + world_.random().below(pages);
    store_.corrupt(page, world_.random());
    damages_.push_back({DamageKind::corrupt_write, page * kBlockBytes, kBlockBytes, world_.now()});
    world_.trace("{}: corrupts offset {}", info_.name, page * kBlockBytes);
  }
  return IoStatus::ok;
}

IoStatus SimDrive::execute_flush(uint64_t mark) {
  if (draw(faults_.flush_error)) {
    // Some of the cache made it, the rest stays at risk.
    store_.flush(0, world_.random().below(mark + 1));
    return IoStatus::io_error;
  }
  store_.flush(0, mark);
  return IoStatus::ok;
}

void SimDrive::process_death() {
  drop_requests([&](const IoRequest& request, TimeNs) {
    if (dead_ || request.op == IoOp::read || request.op == IoOp::flush) return;
    const uint64_t outcome = world_.random().below(3);
    if (outcome != 0) put(request, request.offset, outcome == 1 ? nullptr : &world_.random());
  });
}

void SimDrive::power_loss() {
  process_death();
  store_.lose_cache(0, world_.random());
}

bool SimDrive::corrupt_page(uint64_t age, PageRef* content, const PageStore::Allowed& allowed) {
  const uint64_t page = store_.pick_durable_page(world_.random(), age, allowed);
  if (page == PageStore::kNoPage) return false;
  if (content != nullptr) *content = store_.peek(page);
  store_.corrupt(page, world_.random());
  damages_.push_back({DamageKind::corrupt, page * kBlockBytes, kBlockBytes, world_.now()});
  world_.trace("{}: corrupts offset {}", info_.name, page * kBlockBytes);
  return true;
}

}  // namespace latte::sim
