#include "device/rbd_images.h"

#include <fmt/core.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <list>
#include <thread>
#include <utility>

#include "base/logging.h"
#include "device/rbd_create.h"
#include "device/start_aside.h"

namespace latte {
namespace {

/// Another client may lock an image between our breaking its lock and taking it.
constexpr int kLockTries = 3;
constexpr int kExtendTries = 5;
constexpr std::chrono::seconds kExtendPause{1};

// What an image's or a pool's own configuration (rbd config image|pool set) may override, and what
// it must be all the same.
constexpr std::array<std::pair<const char*, const char*>, 3> kNeeded = {{
    {"rbd_cache", "false"},
    {"rbd_blocklist_on_break_lock", "true"},
    {"rbd_skip_partial_discard", "false"},
}};

}  // namespace

RbdImages::RbdImages(UringReactor& reactor, const RbdAddress& address)
    : cluster_(address),
      base_(reactor, address.to_string()),
      log_(reactor, address.to_string() + ".log") {}

RbdImages::~RbdImages() {
  if (extension_.valid()) extension_.wait();
  base_.image().close();
  log_.image().close();
  // Before the devices go: a thread of librbd's may still be on its way out of one.
  cluster_.close();
}

Result<StoredSuper> RbdImages::read_super() {
  const std::lock_guard lock(mutex_);
  return cluster_.read_super(id_);
}

Result<void> RbdImages::open(bool read_only) {
  const std::lock_guard lock(mutex_);
  Result<void> done = cluster_.connect();
  if (!done) return done;
  done = open_image(base_, cluster_.address().image, read_only);
  if (!done) return done;
  done = open_image(log_, cluster_.address().log_image(), read_only);
  if (!done) return done;
  const int error = base_.image().get_id(&id_);
  if (error < 0) return rbd_error(cluster_.address(), "read the image's id", error);
  if (read_only) return {};
  const auto super = cluster_.read_super(id_);
  if (super || super.error().code == Errc::damaged) return {};
  if (super.error().code != Errc::not_found) return super.error();
  // Nobody's yet: whoever has the lock may format it.
  return lock_both(false);
}

Result<void> RbdImages::open_image(RbdDevice& device, const std::string& image_name,
                                   bool read_only) {
  const int error =
      read_only ? rbd_.open_read_only(cluster_.io(), device.image(), image_name.c_str(), nullptr)
                : rbd_.open(cluster_.io(), device.image(), image_name.c_str());
  if (error < 0) return rbd_error(cluster_.address(), "open the image " + image_name, error);
  const int sized = device.opened();
  if (sized < 0) return rbd_error(cluster_.address(), "read the size of " + image_name, sized);
  return read_only ? Result<void>() : check_settings(device);
}

Result<void> RbdImages::check_settings(RbdDevice& device) {
  const std::string& name = device.info().name;
  uint64_t features = 0;
  int error = device.image().features(&features);
  if (error < 0) return rbd_error(cluster_.address(), "read the features of " + name, error);
  if ((features & RBD_FEATURE_EXCLUSIVE_LOCK) == 0)
    return Error{Errc::invalid,
                 fmt::format("{}: the image has no exclusive lock, so nobody can be fenced off; "
                             "`rbd feature enable {} exclusive-lock`",
                             name, name.substr(name.find(':') + 1))};
  std::vector<librbd::config_option_t> options;
  error = device.image().config_list(&options);
  if (error < 0) return rbd_error(cluster_.address(), "read the settings of " + name, error);
  for (const auto& option : options)
    for (const auto& [key, value] : kNeeded)
      if (option.name == key && option.value != value)
        return Error{Errc::invalid,
                     fmt::format("{}: the image or its pool sets {} to {}, which endangers data; "
                                 "remove it: `rbd config image rm {} {}` (or `rbd config pool rm`)",
                                 name, key, option.value, name.substr(name.find(':') + 1), key)};
  return {};
}

/// Breaks the locks of whoever has the image; returns them. They are on the blocklist then.
Result<RbdImages::Clients> RbdImages::break_lock(RbdDevice& device) {
  rbd_lock_mode_t mode = RBD_LOCK_MODE_EXCLUSIVE;
  Clients owners;
  int error = device.image().lock_get_owners(&mode, &owners);
  if (error == -ENOENT) return Clients{};
  if (error < 0) return rbd_error(cluster_.address(), "ask for the image's lock", error);
  for (const std::string& owner : owners) {
    error = device.image().lock_break(mode, owner);
    // Gone by itself meanwhile.
    if (error == -ENOENT || error == -EBUSY) continue;
    if (error < 0) return rbd_error(cluster_.address(), "break the lock of " + owner, error);
    log_warning("{}: broke the lock of {}, which is on the cluster's blocklist now",
                device.info().name, owner);
  }
  return owners;
}

/// Side by side for both images: breaking a lock waits for the monitors to agree on the blocklist.
Result<RbdImages::Clients> RbdImages::fence_owners() {
  auto base = start_aside([this] { return break_lock(base_); });
  const auto of_log = break_lock(log_);
  const auto of_base = base.get();
  if (!of_base) return of_base.error();
  if (!of_log) return of_log.error();
  Clients fenced = of_base.value();
  fenced.insert(fenced.end(), of_log.value().begin(), of_log.value().end());
  fenced.sort();
  fenced.unique();
  return fenced;
}

/// Behind the take-over: the monitors gather for a second before they agree a second time, and the
/// hour that the entries have by then is long enough.
void RbdImages::extend_fences(const Clients& fenced) {
  if (fenced.empty()) return;
  if (extension_.valid()) extension_.wait();
  extension_ = start_aside([this, fenced] {
    for (const std::string& client : fenced) {
      Result<void> extended = cluster_.extend_fence(client);
      for (int i = 1; i < kExtendTries && !extended; ++i) {
        std::this_thread::sleep_for(kExtendPause);
        extended = cluster_.extend_fence(client);
      }
      if (!extended)
        log_error(
            "{}; its entry ends within the hour, and it must not wake up after that: ceph osd "
            "blocklist add {} {}",
            extended.error().message, client, RbdCluster::kFenceS);
    }
  });
}

Result<void> RbdImages::lock(RbdDevice& device) {
  const int error = device.image().lock_acquire(RBD_LOCK_MODE_EXCLUSIVE);
  if (error == 0) return {};
  if (error == -EROFS || error == -EBUSY || error == -EAGAIN)
    return Error{Errc::busy,
                 fmt::format("{}: another client has the image locked; see `rbd lock ls {}`",
                             device.info().name,
                             device.info().name.substr(device.info().name.find(':') + 1))};
  return rbd_error(cluster_.address(), "lock the image " + device.info().name, error);
}

Result<void> RbdImages::lock_both(bool may_break) {
  Result<void> done;
  for (int i = 0; i < kLockTries && !locked_; ++i) {
    Clients fenced;
    if (may_break) {
      auto broken = fence_owners();
      if (!broken) return broken.error();
      fenced = broken.take();
    }
    auto base = start_aside([this] { return lock(base_); });
    done = lock(log_);
    const Result<void> other = base.get();
    if (done) done = other;
    extend_fences(fenced);
    locked_ = done.ok();
    if (!done && (!may_break || done.error().code != Errc::busy)) return done;
  }
  if (!done) return done;
  base_.allow_writes(true);
  log_.allow_writes(true);
  return {};
}

Result<void> RbdImages::swap_super(uint64_t expected_generation, const StoredSuper& next) {
  const std::lock_guard lock(mutex_);
  // Looked at before anybody is fenced: who comes too late must not fence the new owner.
  const auto present = cluster_.read_super(id_);
  if (!present && present.error().code != Errc::not_found) return present.error();
  const uint64_t generation = present ? present.value().generation : 0;
  if (generation != expected_generation)
    return Error{Errc::busy,
                 fmt::format("{}: the superblock has generation {}, expected was {}: another owner "
                             "was first; read it again",
                             base_.info().name, generation, expected_generation)};
  Result<void> done = lock_both(true);
  if (!done) return done;
  done = cluster_.swap_super(id_, expected_generation, next);
  if (!done || expected_generation != 0) return done;
  mark_rbd_image(base_.image(), kRbdDisk);
  mark_rbd_image(log_.image(), kRbdDisk);
  return {};
}

Result<void> RbdImages::grow_base(uint64_t size_bytes) {
  const std::lock_guard lock(mutex_);
  uint64_t there = 0;
  int error = base_.image().size(&there);
  if (error >= 0 && there < size_bytes) error = base_.image().resize(size_bytes);
  if (error < 0) return rbd_error(cluster_.address(), "grow the image " + base_.info().name, error);
  return {};
}

Result<void> RbdImages::unlock() {
  const std::lock_guard lock(mutex_);
  if (!locked_) return {};
  locked_ = false;
  for (RbdDevice* device : {&base_, &log_}) {
    device->allow_writes(false);
    const int error = device->image().lock_release();
    if (error < 0)
      return rbd_error(cluster_.address(), "unlock the image " + device->info().name, error);
  }
  return {};
}

}  // namespace latte
