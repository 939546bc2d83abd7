#include "disk/local_volume_lane.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace latte {

/// A request that went to the drive from here.
struct LocalVolumeLane::Slot {
  LocalVolumeLane* lane = nullptr;
  IoRequest below;
  IoRequest* request = nullptr;
  uint32_t first = 0;
  uint32_t count = 0;
  TimeNs start_ns = 0;
  Slot* next_free = nullptr;
  Repeater relay;
};

/// Between lane and volume: which extents do these parts have?
struct LocalVolumeLane::Question : ReactorLink::Node {
  bool under_way = false;
  bool is_change = false;
  uint32_t first = 0;
  uint32_t count = 0;
  std::array<uint32_t, kAskedParts> extents{};
};

/// Between volume and lane, in the frame of follow().
struct LocalVolumeLane::Change : Question {
  VolumeMapChange what;
  bool done = false;
};

LocalVolumeLane::LocalVolumeLane(UringReactor& here, UringReactor& there, LocalVolume& volume,
                                 BlockDevice& device)
    : reactor_(here),
      volume_(volume),
      device_(device),
      extent_bytes_(volume.extent_bytes()),
      shift_(static_cast<unsigned>(std::countr_zero(extent_bytes_))),
      info_(volume.info()),
      online_(volume.online()),
      owner_(here, there, volume),
      to_volume_(here, there, &at_volume, this),
      from_volume_(there, here, &at_lane, this),
      map_(volume.extent_count()),
      pins_(volume.extent_count()),
      question_(std::make_unique<Question>()),
      followed_(there) {
  volume.add_copy(*this);
}

LocalVolumeLane::~LocalVolumeLane() = default;

Repeater LocalVolumeLane::relay(Slot& slot) {
  struct Ended {
    Slot& slot;
    bool await_ready() const { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<>) {
      const std::coroutine_handle<> waiter = slot.request->waiter;
      slot.lane->settle(slot);
      return waiter;
    }
    void await_resume() const {}
  };
  for (;;) co_await Ended{slot};
}

bool LocalVolumeLane::submit(IoRequest& request) {
  if (online_ && request.op == IoOp::flush) return pass_on(request, 0, 0, 0);
  if (is_ours(request)) {
    const uint32_t first = part_of(request.offset);
    const uint32_t last = part_of(request.offset + request.length - 1);
    return pass_on(request, volume_.device_offset(request.offset, map_[first] - 1), first,
                   last - first + 1);
  }
  ask(request);
  return owner_.submit(request);
}

/// Whether the request is a transfer to extents that we know, one behind the other on the device.
bool LocalVolumeLane::is_ours(const IoRequest& request) const {
  if (request.op != IoOp::read && request.op != IoOp::write) return false;
  if (!online_ || request.length == 0) return false;
  if (!range_within(request.offset, request.length, info_.size_bytes)) return false;
  if ((request.offset | request.length) % info_.alignment_bytes != 0) return false;
  const uint32_t first = part_of(request.offset);
  const uint32_t last = part_of(request.offset + request.length - 1);
  if (map_[first] == 0) return false;
  for (uint32_t part = first + 1; part <= last; ++part)
    if (map_[part] != map_[part - 1] + 1) return false;
  return true;
}

bool LocalVolumeLane::pass_on(IoRequest& request, uint64_t offset, uint32_t first, uint32_t count) {
  Slot& slot = slots_.take([this](Slot& made) {
    made.lane = this;
    made.relay = relay(made);
  });
  slot.request = &request;
  slot.first = first;
  slot.count = count;
  slot.start_ns = reactor_.now();
  slot.below.ask_as(request, offset);
  slot.below.waiter = slot.relay.handle();
  for (uint32_t i = 0; i < count; ++i) ++pins_[first + i];
  if (device_.submit(slot.below)) return true;
  settle(slot);
  return false;
}

/// The drive is done with the slot's request.
void LocalVolumeLane::settle(Slot& slot) {
  IoRequest& request = *slot.request;
  request.status = slot.below.status;
  for (uint32_t i = 0; i < slot.count; ++i) {
    LATTE_CHECK(pins_[slot.first + i] > 0);
    --pins_[slot.first + i];
  }
  stats_.count(request, reactor_.now() - slot.start_ns);
  slot.request = nullptr;
  slots_.give_back(slot);
  if (!changes_.empty()) answer_changes();
}

/// Asks for what `request` was missing, unless a question is under way.
void LocalVolumeLane::ask(const IoRequest& request) {
  if (request.op != IoOp::read && request.op != IoOp::write) return;
  if (question_->under_way || request.length == 0) return;
  if (!range_within(request.offset, request.length, info_.size_bytes)) return;
  question_->under_way = true;
  question_->first = part_of(request.offset);
  question_->count =
      std::min(part_of(request.offset + request.length - 1) - question_->first + 1, kAskedParts);
  to_volume_.send(*question_);
}

/// On the volume's reactor: a question, or the answer to a change.
void LocalVolumeLane::at_volume(void* context, ReactorLink::Node& node) {
  LocalVolumeLane& lane = *static_cast<LocalVolumeLane*>(context);
  Question& question = static_cast<Question&>(node);
  if (question.is_change) {
    static_cast<Change&>(question).done = true;
    lane.followed_.notify_all();
    return;
  }
  for (uint32_t i = 0; i < question.count; ++i)
    question.extents[i] = lane.volume_.extent_for_copy(question.first + i);
  lane.from_volume_.send(question);
}

/// Here: an answer, or a change.
void LocalVolumeLane::at_lane(void* context, ReactorLink::Node& node) {
  LocalVolumeLane& lane = *static_cast<LocalVolumeLane*>(context);
  Question& question = static_cast<Question&>(node);
  if (question.is_change) return lane.apply(static_cast<Change&>(question));
  question.under_way = false;
  for (uint32_t i = 0; i < question.count; ++i)
    if (question.extents[i] != 0) lane.map_[question.first + i] = question.extents[i];
}

void LocalVolumeLane::apply(Change& change) {
  const VolumeMapChange& what = change.what;
  online_ = what.online;
  info_.size_bytes = what.size_bytes;
  const size_t parts = (what.size_bytes + extent_bytes_ - 1) / extent_bytes_;
  if (parts > map_.size()) {
    map_.resize(parts);
    pins_.resize(parts);
  }
  for (const uint32_t part : what.parts)
    if (part < map_.size()) map_[part] = 0;
  for (size_t part = what.gone_from; part < map_.size(); ++part) map_[part] = 0;
  changes_.push_back(&change);
  answer_changes();
}

/// Whether something is under way to what the change takes away.
bool LocalVolumeLane::busy(const Change& change) const {
  const auto pinned = [](uint32_t pins) { return pins > 0; };
  const auto from = static_cast<ptrdiff_t>(std::min<size_t>(change.what.gone_from, pins_.size()));
  return std::any_of(change.what.parts.begin(), change.what.parts.end(),
                     [&](uint32_t part) { return part < pins_.size() && pins_[part] > 0; }) ||
         std::any_of(pins_.begin() + from, pins_.end(), pinned);
}

void LocalVolumeLane::answer_changes() {
  std::erase_if(changes_, [this](Change* change) {
    if (busy(*change)) return false;
    to_volume_.send(*change);
    return true;
  });
}

Task<void> LocalVolumeLane::follow(const VolumeMapChange& change) {
  Change sent;
  sent.is_change = true;
  sent.what = change;
  from_volume_.send(sent);
  while (!sent.done) co_await followed_.wait();
}

}  // namespace latte
