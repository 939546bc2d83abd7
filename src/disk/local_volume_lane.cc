#include "disk/local_volume_lane.h"

#include <algorithm>

#include "base/check.h"

namespace latte {

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
    : volume_(volume),
      info_(volume.info()),
      online_(volume.online()),
      owner_(here, there, volume),
      to_volume_(here, there, &at_volume, this),
      from_volume_(there, here, &at_lane, this),
      parts_(volume.extent_bytes()),
      pins_(volume.extent_count()),
      question_(std::make_unique<Question>()),
      relay_(here, device, *this, stats_),
      followed_(there) {
  parts_.resize(volume.extent_count());
  volume.add_copy(*this);
}

LocalVolumeLane::~LocalVolumeLane() = default;

bool LocalVolumeLane::submit(IoRequest& request) {
  if (online_ && request.op == IoOp::flush) return pass_on(request, {});
  if (is_transfer(request)) {
    const auto run = parts_.run(request.offset, request.length);
    if (run) return pass_on(request, *run);
  }
  ask(request);
  return owner_.submit(request);
}

/// Whether the request is a transfer that the volume would not refuse.
bool LocalVolumeLane::is_transfer(const IoRequest& request) const {
  if (request.op != IoOp::read && request.op != IoOp::write) return false;
  if (!online_ || request.length == 0) return false;
  return range_within(request.offset, request.length, info_.size_bytes) &&
         (request.offset | request.length) % info_.alignment_bytes == 0;
}

/// `run` is empty for a flush.
bool LocalVolumeLane::pass_on(IoRequest& request, const VolumeParts::Run& run) {
  const uint64_t offset = run.count == 0 ? 0 : volume_.device_offset(request.offset, run.extent);
  for (uint32_t i = 0; i < run.count; ++i) ++pins_[run.part + i];
  return relay_.submit(request, offset, run.part, run.count);
}

/// The drive is done with a request to `count` parts.
void LocalVolumeLane::on_relayed(uint32_t first, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    LATTE_CHECK(pins_[first + i] > 0);
    --pins_[first + i];
  }
  if (!changes_.empty()) answer_changes();
}

/// Asks for what `request` was missing, unless a question is under way.
void LocalVolumeLane::ask(const IoRequest& request) {
  if (request.op != IoOp::read && request.op != IoOp::write) return;
  if (question_->under_way || request.length == 0) return;
  if (!range_within(request.offset, request.length, info_.size_bytes)) return;
  question_->under_way = true;
  question_->first = parts_.part_of(request.offset);
  question_->count = std::min(
      parts_.part_of(request.offset + request.length - 1) - question_->first + 1, kAskedParts);
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
    if (question.extents[i] != 0) lane.parts_.map(question.first + i, question.extents[i] - 1);
}

void LocalVolumeLane::apply(Change& change) {
  const VolumeMapChange& what = change.what;
  online_ = what.online;
  info_.size_bytes = what.size_bytes;
  const size_t parts = (what.size_bytes + parts_.extent_bytes() - 1) / parts_.extent_bytes();
  if (parts > parts_.size()) {
    parts_.resize(parts);
    pins_.resize(parts);
  }
  for (const uint32_t part : what.parts)
    if (part < parts_.size()) parts_.clear(part);
  for (uint32_t part = what.gone_from; part < parts_.size(); ++part) parts_.clear(part);
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
