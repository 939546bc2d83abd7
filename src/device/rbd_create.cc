#include "device/rbd_create.h"

#include <fmt/core.h>

#include <cerrno>

#include "device/rbd_cloud_volume.h"
#include "device/rbd_cluster.h"
#include "device/start_aside.h"

namespace latte {
namespace {

constexpr const char* kMark = "latte";

// The object map spares the cluster a request for each object that a discard of the whole disk, as
// mkfs sends it, does not find. The log overwrites what it has, so its map would only be work.
constexpr uint64_t kLogFeatures = RBD_FEATURE_LAYERING | RBD_FEATURE_EXCLUSIVE_LOCK;
constexpr uint64_t kBaseFeatures =
    kLogFeatures | RBD_FEATURE_OBJECT_MAP | RBD_FEATURE_FAST_DIFF | RBD_FEATURE_DEEP_FLATTEN;

Result<void> make_image(RbdCluster& cluster, const std::string& name, uint64_t bytes,
                        uint64_t features) {
  librbd::RBD rbd;
  librbd::ImageOptions options;
  options.set(RBD_IMAGE_OPTION_FEATURES, features);
  int error = rbd.create4(cluster.io(), name.c_str(), bytes, options);
  if (error < 0) return rbd_error(cluster.address(), "make the image " + name, error);
  librbd::Image image;
  error = rbd.open(cluster.io(), image, name.c_str());
  if (error >= 0) error = mark_rbd_image(image, kRbdMaking);
  if (error < 0) return rbd_error(cluster.address(), "mark the image " + name, error);
  return {};
}

// An image that is there must be what an interrupted create left.
Result<void> expect_unfinished(const RbdAddress& address, const std::string& name,
                               const FoundRbdImage& found, uint64_t bytes) {
  const std::string spec = address.pool + "/" + name;
  if (found.mark == kRbdDisk)
    return Error{Errc::exists,
                 fmt::format("{}: the image {} is a Latte disk's, but its superblock (object "
                             "latte_super.{}) is gone; it was left alone. Restore the object, or "
                             "choose another image",
                             address.to_string(), spec, found.id)};
  if (found.mark == kRbdCloning)
    return Error{
        Errc::exists,
        fmt::format("{}: the image {} is an unfinished clone; it was left alone. Run latte "
                    "clone again",
                    address.to_string(), spec)};
  if (found.mark != kRbdMaking)
    return Error{Errc::exists,
                 fmt::format("{}: the image {} exists and is no Latte disk's; it was left alone. "
                             "Name another image, or remove it if nobody needs it (rbd rm {})",
                             address.to_string(), spec, spec)};
  if (found.bytes == bytes) return {};
  return Error{Errc::invalid,
               fmt::format("{}: the image {} exists with {} bytes, wanted are {}; remove it (rbd "
                           "rm {}), or correct the size in the configuration",
                           address.to_string(), spec, found.bytes, bytes, spec)};
}

Result<VolumeFound> create_now(const RbdAddress& address, uint64_t base_bytes, uint64_t log_bytes) {
  RbdCluster cluster(address);
  const Result<void> connected = cluster.connect();
  if (!connected) return connected.error();
  const auto base = find_rbd_image(cluster, address.image);
  if (!base) return base.error();
  if (base.value().there) {
    const auto super = cluster.read_super(base.value().id);
    if (super || super.error().code == Errc::damaged) return VolumeFound::exists;
    if (super.error().code != Errc::not_found) return super.error();
  }
  const auto log = find_rbd_image(cluster, address.log_image());
  if (!log) return log.error();
  struct Item {
    const FoundRbdImage& found;
    std::string name;
    uint64_t bytes;
    uint64_t features;
  };
  const Item items[] = {{base.value(), address.image, base_bytes, kBaseFeatures},
                        {log.value(), address.log_image(), log_bytes, kLogFeatures}};
  // All is looked at before anything is made.
  for (const Item& item : items) {
    if (!item.found.there) continue;
    const Result<void> ours = expect_unfinished(address, item.name, item.found, item.bytes);
    if (!ours) return ours.error();
  }
  for (const Item& item : items) {
    if (item.found.there) continue;
    const Result<void> made = make_image(cluster, item.name, item.bytes, item.features);
    if (!made) return made.error();
  }
  return VolumeFound::made;
}

bool exists_now(const RbdAddress& address) {
  RbdCluster cluster(address);
  if (!cluster.connect()) return false;
  const auto base = find_rbd_image(cluster, address.image);
  return base && base.value().there && cluster.read_super(base.value().id);
}

}  // namespace

Result<FoundRbdImage> find_rbd_image(RbdCluster& cluster, const std::string& name) {
  librbd::RBD rbd;
  librbd::Image image;
  FoundRbdImage found;
  int error = rbd.open_read_only(cluster.io(), image, name.c_str(), nullptr);
  if (error == -ENOENT) return found;
  if (error >= 0) error = image.get_id(&found.id);
  if (error >= 0) error = image.size(&found.bytes);
  if (error >= 0) error = image.metadata_get(kMark, &found.mark);
  if (error < 0 && error != -ENOENT)
    return rbd_error(cluster.address(), "look at the image " + name, error);
  found.there = true;
  return found;
}

Result<void> make_rbd_log_image(RbdCluster& cluster, uint64_t bytes) {
  return make_image(cluster, cluster.address().log_image(), bytes, kLogFeatures);
}

int mark_rbd_image(librbd::Image& image, const std::string& mark) {
  return image.metadata_set(kMark, mark);
}

Result<VolumeFound> create_rbd_volume(const RbdAddress& address, uint64_t base_bytes,
                                      uint64_t log_bytes) {
  auto made = wait_aside([=] { return create_now(address, base_bytes, log_bytes); }, kRbdAnswerNs);
  if (made) return *made;
  return rbd_no_answer(address);
}

bool rbd_volume_exists(const RbdAddress& address) {
  return wait_aside([=] { return exists_now(address); }, kRbdAnswerNs).value_or(false);
}

}  // namespace latte
