#include "device/rbd_clone.h"

#include <fmt/core.h>

#include <cerrno>

#include "device/cloud_snapshots.h"
#include "device/rbd_cloud_volume.h"
#include "device/rbd_cluster.h"
#include "device/rbd_create.h"
#include "device/start_aside.h"

namespace latte {
namespace {

Error in_the_way(const RbdCluster& cluster, const std::string& name) {
  return Error{
      Errc::exists,
      fmt::format("{}: the image {}/{} exists; it was left alone. Choose another image for "
                  "the clone",
                  cluster.address().to_string(), cluster.address().pool, name)};
}

/// The name of the image that this one is a clone of; empty if it is none.
std::string parent_of(RbdCluster& cluster, const std::string& name) {
  librbd::RBD rbd;
  librbd::Image image;
  librbd::linked_image_spec_t parent;
  librbd::snap_spec_t snapshot;
  int error = rbd.open_read_only(cluster.io(), image, name.c_str(), nullptr);
  if (error >= 0) error = image.get_parent(&parent, &snapshot);
  return error < 0 ? "" : parent.image_name;
}

/// Nothing was ever written to the image.
bool is_empty(RbdCluster& cluster, const std::string& name) {
  librbd::RBD rbd;
  librbd::Image image;
  uint64_t bytes = 0;
  int error = rbd.open_read_only(cluster.io(), image, name.c_str(), nullptr);
  if (error >= 0) error = image.size(&bytes);
  bool written = false;
  const auto note = [](uint64_t, size_t, int, void* found) {
    *static_cast<bool*>(found) = true;
    return 0;
  };
  if (error >= 0) error = image.diff_iterate2(nullptr, 0, bytes, false, true, note, &written);
  return error >= 0 && !written;
}

/// What an interrupted clone may leave, its base without a superblock: first a name without an
/// image, then an image with neither a parent nor a mark, then one with the parent's mark. For the
/// first two there is only the cluster's note.
Result<bool> is_unfinished(RbdCluster& cluster, const std::string& name, const std::string& parent,
                           const FoundRbdImage& found) {
  if (found.mark == kRbdCloning) return true;
  if (found.mark == kRbdMaking && name == cluster.address().log_image()) return true;
  const std::string present = parent_of(cluster, name);
  if (!present.empty()) return present == parent;
  if (!found.mark.empty() || !is_empty(cluster, name)) return false;
  return cluster.clone_noted(cluster.address().image);
}

/// Removes an image that an interrupted clone left; one that is anything else is an error.
Result<void> clear_place(RbdCluster& cluster, const std::string& name, const std::string& parent) {
  const auto found = find_rbd_image(cluster, name);
  if (!found) return found.error();
  const auto unfinished = found.value().there ? is_unfinished(cluster, name, parent, found.value())
                                              : cluster.clone_noted(cluster.address().image);
  if (!unfinished) return unfinished.error();
  if (!unfinished.value()) {
    if (found.value().there) return in_the_way(cluster, name);
    return {};
  }
  librbd::RBD rbd;
  const int error = rbd.remove(cluster.io(), name.c_str());
  if (error < 0 && error != -ENOENT)
    return rbd_error(cluster.address(), "remove the unfinished clone " + name, error);
  return {};
}

/// Nothing of a disk is where the clone is to be.
Result<void> clear_places(RbdCluster& cluster, const RbdAddress& from) {
  const RbdAddress& to = cluster.address();
  const auto base = find_rbd_image(cluster, to.image);
  if (!base) return base.error();
  if (base.value().there) {
    const auto super = cluster.read_super(base.value().id);
    if (super || super.error().code == Errc::damaged) return in_the_way(cluster, to.image);
    if (super.error().code != Errc::not_found) return super.error();
  }
  const Result<void> clear = clear_place(cluster, to.image, from.image);
  return clear ? clear_place(cluster, to.log_image(), from.log_image()) : clear;
}

Result<void> clone_image(RbdCluster& cluster, const std::string& from, const std::string& snapshot,
                         const std::string& to) {
  librbd::RBD rbd;
  librbd::ImageOptions options;
  // Clones of the second format keep a removed snapshot alive for as long as they need it.
  constexpr uint64_t kCloneFormat = 2;
  options.set(RBD_IMAGE_OPTION_CLONE_FORMAT, kCloneFormat);
  int error =
      rbd.clone3(cluster.io(), from.c_str(), snapshot.c_str(), cluster.io(), to.c_str(), options);
  librbd::Image image;
  if (error >= 0) error = rbd.open(cluster.io(), image, to.c_str());
  if (error >= 0) error = mark_rbd_image(image, kRbdCloning);
  if (error < 0)
    return rbd_error(cluster.address(), fmt::format("clone {}@{} to {}", from, snapshot, to),
                     error);
  return {};
}

Result<SuperBytes> begin_now(const RbdAddress& from, const std::string& snapshot,
                             const RbdAddress& to, const AcceptSuper& accept) {
  RbdCluster cluster(to);
  const Result<void> connected = cluster.connect();
  if (!connected) return connected.error();
  const auto base = find_rbd_image(cluster, from.image);
  if (!base) return base.error();
  if (!base.value().there)
    return Error{Errc::not_found, fmt::format("{}: there is no such image", from.to_string())};
  const auto record = cluster.read_snapshot(base.value().id, snapshot);
  if (!record) return record.error();
  if (!record.value() || !record.value()->complete)
    return no_such_snapshot(from.to_string(), snapshot);
  const Result<void> accepted = accept(record.value()->super.bytes);
  if (!accepted) return accepted.error();
  const Result<void> clear = clear_places(cluster, from);
  if (!clear) return clear.error();
  const Result<void> noted = cluster.note_clone(to.image);
  if (!noted) return noted.error();
  const std::pair<std::string, std::string> pairs[] = {{from.image, to.image},
                                                       {from.log_image(), to.log_image()}};
  for (const auto& [parent, child] : pairs) {
    const Result<void> cloned = clone_image(cluster, parent, snapshot, child);
    if (!cloned) return cloned.error();
  }
  return record.value()->super.bytes;
}

Result<void> end_now(const RbdAddress& to, uint64_t log_bytes) {
  RbdCluster cluster(to);
  Result<void> done = cluster.connect();
  if (!done) return done;
  done = clear_place(cluster, to.log_image(), "");
  if (!done) return done;
  done = make_rbd_log_image(cluster, log_bytes);
  if (!done) return done;
  librbd::RBD rbd;
  librbd::Image image;
  int error = rbd.open(cluster.io(), image, to.image.c_str());
  if (error >= 0) error = mark_rbd_image(image, kRbdMaking);
  if (error < 0) return rbd_error(to, "mark the image " + to.image, error);
  return cluster.forget_clone(to.image);
}

}  // namespace

Result<SuperBytes> begin_rbd_clone(const RbdAddress& from, const std::string& snapshot,
                                   const RbdAddress& to, const AcceptSuper& accept) {
  if (from.pool != to.pool || from.conf != to.conf || from.id != to.id)
    return Error{Errc::invalid,
                 fmt::format("{}: a clone lies in its parent's pool, reached in the same way as {}",
                             to.to_string(), from.to_string())};
  auto begun = wait_aside([=] { return begin_now(from, snapshot, to, accept); }, kRbdAnswerNs);
  if (begun) return *begun;
  return rbd_no_answer(to);
}

Result<void> end_rbd_clone(const RbdAddress& to, uint64_t log_bytes) {
  auto ended = wait_aside([=] { return end_now(to, log_bytes); }, kRbdAnswerNs);
  if (ended) return *ended;
  return rbd_no_answer(to);
}

}  // namespace latte
