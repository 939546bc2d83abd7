#include "device/rbd_snapshots.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "device/rbd_answer.h"

namespace latte {
namespace {

/// Copying whole images takes what it takes.
constexpr TimeNs kNoLimitNs = TimeNs{365} * 24 * 3600 * kSecond;

/// Tells how far librbd is with one image, as a part of both.
class CopyProgress final : public librbd::ProgressContext {
 public:
  CopyProgress(const CloudSnapshots::RollBackProgress& progress, uint64_t before_bytes,
               uint64_t image_bytes, uint64_t total_bytes)
      : progress_(progress),
        before_bytes_(before_bytes),
        image_bytes_(image_bytes),
        total_bytes_(total_bytes) {}
  int update_progress(uint64_t done, uint64_t total) override {
    const double part = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
    progress_(before_bytes_ + static_cast<uint64_t>(part * static_cast<double>(image_bytes_)),
              total_bytes_);
    return 0;
  }

 private:
  const CloudSnapshots::RollBackProgress& progress_;
  const uint64_t before_bytes_;
  const uint64_t image_bytes_;
  const uint64_t total_bytes_;
};

int64_t wall_now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Task<Result<void>> RbdSnapshots::prepare(std::string name, const SuperBytes& super) {
  return rbd_answer(reactor_, address_, [images = images_, name, super] {
    return images->prepare_snapshot(name, super);
  });
}

Task<Result<void>> RbdSnapshots::take(std::string name) {
  return rbd_answer(reactor_, address_,
                    [images = images_, name] { return images->take_snapshot(name); });
}

Task<Result<void>> RbdSnapshots::finish(std::string name) {
  return rbd_answer(reactor_, address_,
                    [images = images_, name] { return images->finish_snapshot(name); });
}

Task<Result<std::vector<CloudSnapshot>>> RbdSnapshots::list() {
  return rbd_answer(reactor_, address_, [images = images_] { return images->list_snapshots(); });
}

Task<Result<void>> RbdSnapshots::remove(std::string name) {
  return rbd_answer(reactor_, address_,
                    [images = images_, name] { return images->remove_snapshot(name); });
}

Task<Result<void>> RbdSnapshots::roll_back(std::string name, RollBackProgress progress) {
  auto call = [images = images_, name, progress] { return images->roll_back(name, progress); };
  const Result<void> done = co_await rbd_answer(reactor_, address_, std::move(call), kNoLimitNs);
  if (!done) co_return done;
  for (RbdDevice* device : {&images_->base(), &images_->log()}) {
    const int error = device->opened();
    if (error < 0) co_return rbd_error(address_, "read the size of " + device->info().name, error);
  }
  co_return done;
}

/// librbd would take the lock again by itself for who gave it back.
Result<void> RbdImages::expect_owner() const {
  if (locked_) return {};
  return Error{Errc::busy, fmt::format("{}: this host does not own the disk any more",
                                       cluster_.address().to_string())};
}

Error RbdImages::no_snapshot(const std::string& name) const {
  return no_such_snapshot(cluster_.address().to_string(), name);
}

/// What is known of a snapshot, to the disk's owner.
Result<std::optional<RbdSnapshotRecord>> RbdImages::owned_record(const std::string& name) {
  const Result<void> owner = expect_owner();
  if (!owner) return owner.error();
  return cluster_.read_snapshot(id_, name);
}

/// One that is not there is fine.
Result<void> RbdImages::drop_image_snapshot(RbdDevice& device, const std::string& name) {
  const int error = device.image().snap_remove(name.c_str());
  if (error == -EBUSY)
    return Error{Errc::busy,
                 fmt::format("{}@{}: something depends on it (`rbd children`); flatten or remove "
                             "that first, or unprotect it",
                             device.info().name, name)};
  if (error < 0 && error != -ENOENT)
    return rbd_error(cluster_.address(),
                     fmt::format("remove the snapshot {} of {}", name, device.info().name), error);
  return {};
}

Result<void> RbdImages::prepare_snapshot(const std::string& name, const SuperBytes& super) {
  const std::lock_guard lock(mutex_);
  const auto record = owned_record(name);
  if (!record) return record.error();
  if (record.value() && record.value()->complete)
    return Error{Errc::exists, fmt::format("{}: there is a snapshot {} already; choose another "
                                           "name, or remove that one",
                                           cluster_.address().to_string(), name)};
  for (RbdDevice* device : {&base_, &log_}) {
    // What a broken attempt left may go; without a record it is not ours.
    bool there = false;
    const int error = device->image().snap_exists2(name.c_str(), &there);
    if (error < 0) return rbd_error(cluster_.address(), "look for the snapshot " + name, error);
    if (there && !record.value())
      return Error{Errc::exists,
                   fmt::format("{}@{} exists and is no Latte disk's snapshot; it was left alone. "
                               "Choose another name",
                               device->info().name, name)};
    if (!there) continue;
    const Result<void> dropped = drop_image_snapshot(*device, name);
    if (!dropped) return dropped;
  }
  return cluster_.write_snapshot(id_, name, {StoredSuper{0, super}, false, wall_now_ns()});
}

Result<void> RbdImages::take_snapshot(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const Result<void> owner = expect_owner();
  if (!owner) return owner;
  auto base = start_aside([this, name] { return base_.image().snap_create(name.c_str()); });
  int error = log_.image().snap_create(name.c_str());
  const int of_base = base.get();
  if (error >= 0) error = of_base;
  if (error < 0) return rbd_error(cluster_.address(), "make the snapshot " + name, error);
  return {};
}

Result<void> RbdImages::finish_snapshot(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto record = owned_record(name);
  if (!record) return record.error();
  if (!record.value())
    return Error{Errc::not_found, fmt::format("{}: the snapshot {} was removed meanwhile",
                                              cluster_.address().to_string(), name)};
  RbdSnapshotRecord finished = *record.value();
  finished.complete = true;
  return cluster_.write_snapshot(id_, name, finished);
}

Result<void> RbdImages::remove_snapshot(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto record = owned_record(name);
  if (!record) return record.error();
  if (!record.value()) return no_snapshot(name);
  // From here on it does not exist, even if this ends half way.
  RbdSnapshotRecord going = *record.value();
  const bool was_complete = std::exchange(going.complete, false);
  Result<void> done = cluster_.write_snapshot(id_, name, going);
  if (done) done = drop_image_snapshot(base_, name);
  if (!done && done.error().code == Errc::busy && was_complete) {
    going.complete = true;
    const Result<void> back = cluster_.write_snapshot(id_, name, going);
    return back ? done : back;
  }
  if (done) done = drop_image_snapshot(log_, name);
  if (done) done = cluster_.remove_snapshot(id_, name);
  return done;
}

Result<std::vector<CloudSnapshot>> RbdImages::list_snapshots() {
  const std::lock_guard lock(mutex_);
  std::vector<librbd::snap_info_t> found;
  const int error = base_.image().snap_list(found);
  if (error < 0) return rbd_error(cluster_.address(), "list the image's snapshots", error);
  std::vector<CloudSnapshot> complete;
  for (const librbd::snap_info_t& item : found) {
    const auto record = cluster_.read_snapshot(id_, item.name);
    if (!record) return record.error();
    if (record.value() && record.value()->complete)
      complete.push_back({item.name, record.value()->taken_ns, record.value()->super.bytes});
  }
  return complete;
}

Result<void> RbdImages::roll_back(const std::string& name,
                                  const CloudSnapshots::RollBackProgress& progress) {
  const std::lock_guard lock(mutex_);
  const auto record = owned_record(name);
  if (!record) return record.error();
  if (!record.value() || !record.value()->complete) return no_snapshot(name);
  const uint64_t base_bytes = base_.info().size_bytes;
  const uint64_t log_bytes = log_.info().size_bytes;
  CopyProgress of_base(progress, 0, base_bytes, base_bytes + log_bytes);
  int error = base_.image().snap_rollback_with_progress(name.c_str(), of_base);
  CopyProgress of_log(progress, base_bytes, log_bytes, base_bytes + log_bytes);
  if (error >= 0) error = log_.image().snap_rollback_with_progress(name.c_str(), of_log);
  if (error < 0) return rbd_error(cluster_.address(), "roll back to the snapshot " + name, error);
  return {};
}

}  // namespace latte
